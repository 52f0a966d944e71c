//! A connection table that fills, on a real `node_exporter` in a network of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel_e2e::monitoring::{Prometheus, Scraping, ensure_nft, node_exporter};
use evenkeel_e2e::process::Process;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use super::bed::{Bed, PRESSURE, message};

/// A network of its own that is linked to this one by two addresses of the range for tests of networks (RFC 2544).
struct Network {
    name: String,
    inside: Ipv4Addr,
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

impl Network {
    fn make() -> Self {
        // Another run on this machine may have made one.
        let free = |number: &u8| !Path::new(&format!("/var/run/netns/evk{number}")).exists();
        let mut numbers = std::iter::repeat_with(|| fastrand::u8(1..250)).take(1_000);
        let number = numbers.find(free).unwrap();
        let (name, outer, inner) = (
            format!("evk{number}"),
            format!("evo{number}"),
            format!("evi{number}"),
        );
        let [outside, inside] = [1, 2].map(|last| Ipv4Addr::new(198, 18, number, last));
        ip(&format!("netns add {name}"));
        let network = Self {
            name: name.clone(),
            inside,
        };
        ip(&format!(
            "link add {outer} type veth peer name {inner} netns {name}"
        ));
        ip(&format!("address add {outside}/30 dev {outer}"));
        ip(&format!("link set {outer} up"));
        ip(&format!("-n {name} address add {inside}/30 dev {inner}"));
        ip(&format!("-n {name} link set {inner} up"));
        ip(&format!("-n {name} link set lo up"));
        network
    }

    /// Runs a script inside.
    fn run(&self, script: &str) {
        let status = Command::new("ip")
            .args(["netns", "exec", &self.name, "sh", "-ec", script])
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The link goes with it.
        drop(Command::new("ip").args(["netns", "delete", &self.name]).status());
    }
}

/// Fills the table of a network by one datagram for each entry, so many in a second.
struct Filling {
    stop: Arc<AtomicBool>,
    rate: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Filling {
    fn start(network: &Network, at_once: u32, rate: u32) -> Self {
        let (stop, rate) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(rate)));
        let (stopped, now) = (stop.clone(), rate.clone());
        let file = File::open(format!("/var/run/netns/{}", network.name)).unwrap();
        let thread = thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let mut sent: u32 = 0;
            let mut send = |count: u32| {
                for _ in 0..count {
                    sent += 1;
                    let [_, a, b, c] = sent.to_be_bytes();
                    // 127.0.0.1 is where it sends from.
                    let to = SocketAddr::from((Ipv4Addr::new(127, a + 1, b, c), 9));
                    // Nothing listens there, and the answer to an earlier one may say so.
                    drop(socket.send_to(&[0], to));
                }
            };
            send(at_once);
            while !stopped.load(Ordering::Relaxed) {
                send(now.load(Ordering::Relaxed) / 10);
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self {
            stop,
            rate,
            thread: Some(thread),
        }
    }

    fn at_rate(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn number(path: &str) -> f64 {
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_fills_is_forecast_and_critical_before_anything_is_dropped() {
    ensure_nft().unwrap();
    let limit = number("/proc/sys/net/netfilter/nf_conntrack_max");
    let bed = Bed::start().await;
    let network = Network::make();
    // A rule that looks at the state of connections makes the kernel track them; entries stay for an hour.
    network.run(
        "nft 'add table inet filling; add chain inet filling out { type filter hook output priority 0; }; \
         add rule inet filling out ct state new counter'
         echo 3600 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout
         echo 3600 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream",
    );
    let exporter = node_exporter().unwrap();
    let arguments = [
        "netns".to_owned(),
        "exec".to_owned(),
        network.name.clone(),
        exporter.display().to_string(),
        "--collector.disable-defaults".to_owned(),
        "--collector.conntrack".to_owned(),
        format!("--web.listen-address={}:9100", network.inside),
    ];
    let _exporter = Process::start("node-exporter", "ip".as_ref(), &arguments, bed.folder.path()).unwrap();
    let at = bed.place();
    bed.service("prometheus", &[at]).await;
    let target = format!("{}:9100", network.inside);
    let jobs =
        json!([{"job_name": "node", "static_configs": [{"targets": [target], "labels": {"node": "n1"}}]}]);
    let _prometheus = Prometheus::scraping(
        &bed.programs,
        "prometheus",
        bed.folder.path(),
        &Scraping::of(at, 5, jobs),
    )
    .await
    .unwrap();
    let asking = bed.operator("filling", "prometheus", &[]).await;
    #[allow(clippy::cast_sign_loss, reason = "no limit is negative")]
    let part = |percent: f64| (limit * percent / 100.0) as u32;
    // From 32 % on it gains 2.5 % a minute: it is full in 27 min.
    let filling = Filling::start(&network, part(32.0), part(2.5) / 60);
    let start = Instant::now();
    let on_n1 = |found: &[Value], cause: &str| {
        let is = |one: &&Value| one["subject"]["name"] == "n1" && one["cause"] == cause;
        found.iter().find(is).cloned()
    };
    asking
        .until(PRESSURE, "forecast", |found| on_n1(found, "Filling").is_some())
        .await;
    let entries = table(&network);
    eprintln!(
        "forecast after {:.0?} at {:.0} % of {limit}: {}",
        start.elapsed(),
        entries * 100.0 / limit,
        on_n1(&asking.found(PRESSURE).await, "Filling")
            .map_or_else(String::new, |one| message(&one).to_owned())
    );
    assert!(entries < limit * 0.75, "{entries} of {limit}");
    // Then it gains 15 % a minute.
    filling.at_rate(part(15.0) / 60);
    let critical = |found: &[Value]| on_n1(found, "Full").is_some_and(|one| one["severity"] == "critical");
    asking.until(PRESSURE, "critical", critical).await;
    let entries = table(&network);
    eprintln!("critical at {:.0} %", entries * 100.0 / limit);
    assert_eq!(dropped(&network), 0, "packets were dropped before the finding");
    drop(filling);
    asking.operator.end().unwrap();
}

/// Entries of the table of a network.
fn table(network: &Network) -> f64 {
    said(network, "cat /proc/sys/net/netfilter/nf_conntrack_count")
        .trim()
        .parse()
        .unwrap()
}

/// Packets that its table had no room for: `drop`, in hexadecimal for each CPU (`net/netfilter/nf_conntrack_standalone.c`).
fn dropped(network: &Network) -> u64 {
    let text = said(network, "cat /proc/net/stat/nf_conntrack");
    let mut lines = text.lines();
    let names = lines.next().unwrap().split_whitespace();
    let place = names.into_iter().position(|name| name == "drop").unwrap();
    lines
        .map(|line| u64::from_str_radix(line.split_whitespace().nth(place).unwrap(), 16).unwrap())
        .sum()
}

fn said(network: &Network, script: &str) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", &network.name, "sh", "-c", script])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
