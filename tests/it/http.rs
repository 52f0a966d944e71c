//! The operator's HTTP ports under attack: the real binary, without a cluster.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A kubeconfig of a server that does not answer: HTTP must serve all the same.
const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
"#;

struct Operator {
    process: Child,
    metrics: SocketAddr,
    probes: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Operator {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, KUBECONFIG).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["run", "--listen=127.0.0.1:0", "--probe-listen=127.0.0.1:0"])
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let line = log.next().unwrap().unwrap();
        // Nothing else reads the pipe, and a full one would hold the operator up.
        std::thread::spawn(move || log.for_each(drop));
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = |key: &str| line[key].as_str().unwrap().parse().unwrap();
        Self {
            process,
            metrics: address("listen"),
            probes: address("probes"),
            _folder: folder,
        }
    }

    fn proc(&self, file: &str) -> std::path::PathBuf {
        format!("/proc/{}/{file}", self.process.id()).into()
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    fn sockets(&self) -> usize {
        let files = std::fs::read_dir(self.proc("fd")).unwrap();
        let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    // No call of this test may hang: what takes that long has failed.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Everything that a GET is answered with.
fn get(to: SocketAddr, path: &str) -> String {
    let mut stream = connect(to);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// More half-open connections than are kept, and headers larger than are taken.
#[test]
fn half_open_connections_and_huge_headers_cost_little_and_hold_nothing_up() {
    let operator = Operator::start();
    assert!(get(operator.probes, "/livez").starts_with("HTTP/1.1 200"));
    let (memory, sockets) = (operator.resident(), operator.sockets());

    let huge = vec![b'a'; 400_000];
    let mut open = Vec::new();
    for at in 0..800 {
        let mut stream = connect(operator.metrics);
        // What is refused or closed meanwhile cannot be written to.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
        if at % 4 == 0 {
            let _ = stream.write_all(&huge);
        }
        open.push(stream);
    }

    // Taken in order: when this one is answered, all of them have been looked at.
    let scrape = get(operator.metrics, "/metrics");
    assert!(scrape.starts_with("HTTP/1.1 200"), "{scrape}");
    let line = scrape
        .lines()
        .find_map(|line| line.strip_prefix("evenkeel_http_displaced_total "));
    assert!(line.unwrap().parse::<u32>().unwrap() >= 500, "{line:?}");
    assert!(get(operator.probes, "/livez").starts_with("HTTP/1.1 200"));

    let now = operator.sockets();
    assert!(now <= sockets + 32, "{sockets} sockets before, {now} now");
    let grown = operator.resident().saturating_sub(memory);
    assert!(grown < 16 << 10, "{grown} KiB more");
    drop(open);
}

#[test]
fn a_header_that_is_too_large_is_refused_and_a_body_is_not_waited_for() {
    let operator = Operator::start();
    let mut stream = connect(operator.metrics);
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(20_000)).as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");

    let mut stream = connect(operator.metrics);
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    )
    .unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn probes_and_metrics_do_not_share_a_port() {
    let operator = Operator::start();
    for (to, path, code) in [
        (operator.metrics, "/metrics", "200"),
        (operator.metrics, "/livez", "404"),
        (operator.metrics, "/debug/verdicts", "404"),
        (operator.probes, "/livez", "200"),
        (operator.probes, "/readyz", "503"),
        (operator.probes, "/metrics", "404"),
    ] {
        let answer = get(to, path);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code}")),
            "{path}: {answer}"
        );
    }
}
