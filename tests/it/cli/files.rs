//! Files as people have them: half broken, not meant to be read alone, or no files at all.

use std::process::Command;

use rstest::rstest;

use serde_json::Value;

use super::{audit, code, evenkeel, folder, json, out};

/// A Service that shows among the load balancers once it is read.
const SERVICE: &[u8] = b"apiVersion: v1
kind: Service
metadata: {name: rest, namespace: shop}
spec: {type: LoadBalancer, ports: [{port: 80}]}
";

fn dataplane(path: &std::path::Path) -> (i32, Value) {
    json(&["dataplane", "--from", path.to_str().unwrap(), "-o", "json"])
}

/// Fails where the rest was not read.
fn rest_is_read(view: &Value) {
    assert_eq!(view["loadBalancers"][0]["service"], "rest", "{view:#}");
}

/// What is wrong with one document, file or name, and what is said of it; the rest is judged.
#[rstest]
#[case(
    "a.yaml",
    b"kind: Service\nmetadata:\n  name: {{ .Release.Name }}\n",
    "document 1, line 3",
    "a template; render it first"
)]
#[case(
    "a.yaml",
    b"apiVersion: v1\nkind: Service\nmetadata: {name: \"{{ x }}\"}\n",
    "(Service default/{{ x }})",
    "metadata.name: `{{ x }}` is left of a template"
)]
#[case("a.yaml", b"a: \xff\n", "document 1, line 1", "is not UTF-8 text")]
#[case("a.yaml", b"a: \0\n", "document 1, line 1", "holds a zero byte")]
#[case(
    "a.yaml",
    b"? [a, b]\n: c\n",
    "document 1, line 1",
    "a key is a list or a mapping"
)]
#[case(
    "a.yaml",
    b"kind: ConfigMap\ndata: {null: z}\n",
    "document 1, line 2",
    "a key is null"
)]
#[case(
    "a.json",
    br#"{"kind":"Status","status":"Failure","message":"services is forbidden"}"#,
    "document 1, line 1",
    "an error of the API server: services is forbidden"
)]
#[case(
    "a.yaml",
    b"apiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: c}\nspec: {ports: [null]}\n",
    "(Service c/b)",
    "spec.ports[0]: found null, expected a mapping"
)]
#[case(
    "a.yaml",
    b"apiVersion: v1\nkind: List\nitems: [null]\n",
    "items[0]",
    "is no object"
)]
#[case(
    "a.yaml",
    b"apiVersion: v1\nkind: ServiceList\nitems: {a: b}\n",
    "document 1, line 1",
    "items: expected a list"
)]
#[case("a.yaml", b"a: &a [*a]\n", "document 1, line 1", "no readable YAML")]
fn one_document_is_lost(
    #[case] name: &str,
    #[case] content: &[u8],
    #[case] source: &str,
    #[case] reason: &str,
) {
    let first = [content, b"\n---\n", SERVICE].concat();
    let last = [SERVICE, b"---\n", content].concat();
    for (bytes, shift) in [(&first, 0), (&last, 1)] {
        let folder = folder(&[(name, bytes)]);
        let (code, view) = dataplane(folder.path());
        assert_eq!(code, 2);
        let told = &view["unreadable"][0];
        assert_eq!(view["unreadable"].as_array().unwrap().len(), 1, "{view:#}");
        assert!(told["reason"].as_str().unwrap().contains(reason), "{told}");
        let at = told["source"].as_str().unwrap();
        assert!(at.contains(name), "{at}");
        if shift == 0 {
            assert!(at.contains(source), "{at}");
        } else {
            assert!(at.contains("document 2, line "), "{at}");
        }
        rest_is_read(&view);
    }
}

/// A file that is no text as a whole.
#[rstest]
#[case(b"\x1f\x8b\x08\0\0", "is packed with gzip")]
#[case(b"\xff\xfe\0\0a\0\0\0", "is UTF-32")]
#[case(b"\x80\x81\x82", "is not UTF-8 text")]
fn no_text(#[case] bytes: &[u8], #[case] expected: &str) {
    let folder = folder(&[("a.yaml", bytes), ("b.yaml", SERVICE)]);
    let (code, view) = dataplane(folder.path());
    assert_eq!(code, 2);
    assert_eq!(view["unreadable"].as_array().unwrap().len(), 1);
    assert!(view["unreadable"][0].to_string().contains(expected), "{view:#}");
    rest_is_read(&view);
}

/// Depth and growth are bounded: each of these would need minutes or the whole stack otherwise.
#[rstest]
#[case("[".repeat(200_000), "nested too deeply")]
#[case(r#"{"a":"#.repeat(100_000), "nested too deeply")]
#[case(format!("a: {}", "{a: ".repeat(50_000)), "100 levels deep")]
#[case("- ".repeat(50_000), "100 levels deep")]
#[case((0..10_001).map(|at| format!("a{at}: &a{at} x\n")).collect::<Vec<_>>().concat(), "more than 10000 anchors")]
#[case(format!("a: &a {{x: 1}}\n{}", ["ab", "bc", "cd", "de", "ef", "fg", "gh"].map(|pair| {
    let (old, new) = pair.split_at(1);
    format!("{new}: &{new} {{<<: [{}]}}\n", [format!("*{old}").as_str(); 9].join(","))
}).concat()), "its aliases make it grow")]
fn bounds(#[case] content: String, #[case] expected: &str) {
    let folder = folder(&[("a.yaml", content.as_bytes()), ("b.yaml", SERVICE)]);
    let (code, view) = dataplane(folder.path());
    assert_eq!(code, 2);
    assert!(view["unreadable"].to_string().contains(expected), "{view:#}");
    rest_is_read(&view);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_reported() {
    let folder = folder(&[("b.yaml", SERVICE)]);
    let path = folder.path();
    let done = Command::new("mkfifo").arg(path.join("a.yaml")).status().unwrap();
    assert!(done.success());
    std::os::unix::fs::symlink("/dev/zero", path.join("zero.yaml")).unwrap();
    std::os::unix::fs::symlink("itself.yaml", path.join("itself.yaml")).unwrap();
    let (code, view) = dataplane(path);
    assert_eq!(code, 2);
    let told = view["unreadable"].to_string();
    assert_eq!(view["unreadable"].as_array().unwrap().len(), 3, "{told}");
    for name in ["/a.yaml", "/zero.yaml", "/itself.yaml"] {
        assert!(told.contains(name), "{told}");
    }
    rest_is_read(&view);

    let (code, view) = dataplane(&path.join("a.yaml"));
    assert_eq!(code, 2);
    assert!(
        view["unreadable"].to_string().contains("is a named pipe"),
        "{view:#}"
    );
}

#[rstest]
#[case("mode: ipvs\nipvs: {tcpTimeout: 0s}\n", "Ipvs", 900)]
#[case("conntrack: {tcpEstablishedTimeout: 0s}\n", "Iptables", 432_000)]
#[case("conntrack: {tcpEstablishedTimeout: 2h}\n", "Iptables", 7200)]
fn a_configuration_file_of_kube_proxy_alone(#[case] settings: &str, #[case] mode: &str, #[case] idle: i64) {
    let kubeadm = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n---\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n{settings}"
    );
    let one = folder(&[("kubeadm.yaml", kubeadm.as_bytes())]);
    let path = one.path().to_str().unwrap();
    let (code, view) = json(&["dataplane", "--from", path, "-o", "json"]);
    assert_eq!(code, 0);
    let profile = &view["profiles"][0];
    assert_eq!(profile["proxyMode"]["value"], mode);
    assert_eq!(profile["serviceIdleSeconds"]["value"], idle);
    assert_eq!(profile["serviceIdleSeconds"]["origin"], "Assumed");
    let source = profile["serviceIdleSeconds"]["source"].to_string();
    assert!(source.contains("kubeadm.yaml, document 2"), "{source}");
    // What the cluster holds comes first, and two files that differ leave it open.
    let (_, view) = json(&["dataplane", "--from", path, "--from", "b1", "-o", "json"]);
    let source = view["profiles"][0]["serviceIdleSeconds"]["source"].to_string();
    assert!(source.contains("ConfigMap kube-system/kube-proxy"), "{source}");
    let other = kubeadm.replace(settings, "mode: nftables\n");
    let two = folder(&[("a.yaml", kubeadm.as_bytes()), ("b.yaml", other.as_bytes())]);
    let (_, view) = json(&["dataplane", "--from", two.path().to_str().unwrap(), "-o", "json"]);
    let unknown = view["profiles"][0]["proxyMode"]["unknown"].to_string();
    assert!(unknown.contains("configure kube-proxy differently"), "{view:#}");
}

const CONFIG: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, namespace: NAMESPACE}
data:
  config.conf: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    mode: MODE
---
";

fn config(namespace: &str, name: &str, mode: &str) -> String {
    CONFIG
        .replace("NAMESPACE", namespace)
        .replace("NAME", name)
        .replace("MODE", mode)
}

fn proxies(name: &str, os: &str, mode: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}, namespace: kube-system}}\nspec:\n  template:\n    spec:\n      nodeSelector: {{kubernetes.io/os: {os}}}\n      containers:\n      - name: kube-proxy\n        command: [kube-proxy, --proxy-mode={mode}]\n---\n"
    )
}

/// Without nodes, the place where a cluster keeps kube-proxy's configuration comes before those that only quote one.
#[rstest]
#[case(config("docs", "example", "ipvs") + &config("kube-system", "kube-proxy", "nftables"), Some("Nftables"))]
#[case(config("capi", "a-bootstrap", "ipvs") + &config("openshift-kube-proxy", "proxy-config", "iptables"), Some("Iptables"))]
#[case(config("kube-system", "a", "ipvs") + &config("kube-system", "kube-proxy-config-0a1b", "nftables"), Some("Nftables"))]
#[case(proxies("kube-proxy-a-windows", "windows", "kernelspace") + &proxies("kube-proxy-pool", "linux", "ipvs"), Some("Ipvs"))]
#[case(proxies("kube-proxy-windows", "windows", "kernelspace") + &config("kube-system", "kube-proxy", "nftables"), Some("Nftables"))]
#[case(proxies("kube-proxy-windows", "windows", "kernelspace"), None)]
fn which_proxy_counts(#[case] files: String, #[case] mode: Option<&str>) {
    let folder = folder(&[("dump.yaml", files.as_bytes())]);
    let (code, view) = dataplane(folder.path());
    assert_eq!(code, 0, "{view:#}");
    assert_eq!(
        view["profiles"][0]["proxyMode"]["value"].as_str(),
        mode,
        "{view:#}"
    );
}

#[test]
fn what_lies_beside_manifests_in_a_folder_is_no_problem() {
    let files: [(&str, &[u8]); 5] = [
        ("Chart.yaml", b"apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        ("values.yaml", b"replicas: 3\n"),
        ("play.yml", b"- hosts: all\n  tasks: []\n"),
        ("lost.yaml", b"apiVersion: v1\nmetadata: {name: a}\n"),
        (
            "good.yaml",
            b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
        ),
    ];
    let folder = folder(&files);
    let at = folder.path().to_str().unwrap();
    let output = evenkeel(&["audit", "--from", at]);
    // An object that lost its kind is one all the same, and a named file was meant.
    assert_eq!(code(&output), 2);
    let told = out(&output).replace('\n', " ");
    assert!(
        told.contains("lost.yaml, document 1, line 1, column 1: kind: missing or empty"),
        "{told}"
    );
    assert!(!told.contains("values.yaml"), "{told}");
    assert!(
        told.contains("note: 3 documents without kind and metadata"),
        "{told}"
    );
    let named = evenkeel(&["audit", "--from", &format!("{at}/values.yaml")]);
    assert_eq!(code(&named), 2, "{}", out(&named));
}

/// Nothing that opens without an end may hold the program up, under whatever name it is given.
#[rstest]
#[case::a_pipe("pipe", "is a named pipe")]
#[case::a_link_to_a_pipe("link-to-pipe", "is a named pipe")]
#[case::a_socket("socket", "is a pipe, socket or device")]
#[case::a_device("/dev/null", "is a pipe, socket or device")]
fn what_is_no_file_is_reported_at_once(#[case] name: &str, #[case] expected: &str) {
    let folder = folder(&[]);
    let path = folder.path();
    let done = Command::new("mkfifo").arg(path.join("pipe")).status().unwrap();
    assert!(done.success());
    std::os::unix::fs::symlink("pipe", path.join("link-to-pipe")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
    let (code, view) = audit(&path.join(name));
    assert_eq!(code, 2);
    assert!(view["unreadable"].to_string().contains(expected), "{view:#}");
}

#[test]
fn the_pipe_of_a_shell_is_read() {
    let folder = folder(&[("a.yaml", SERVICE)]);
    let output = Command::new("bash")
        .arg("-c")
        .arg(r#""$0" audit -o json --from <(cat "$1")"#)
        .arg(env!("CARGO_BIN_EXE_evenkeel"))
        .arg(folder.path().join("a.yaml"))
        .output()
        .unwrap();
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(view["unreadable"], Value::Array(vec![]), "{view:#}");
}

/// Files that cost a hundred times their size, or the square of it, if each of their values is kept or each of their
/// mistakes is looked for in what is left. A limit on memory and on CPU time ends a program that does so: a minute is twenty
/// times what the slowest of them needs in a debug build, and hundreds of times less than the square.
#[rstest]
#[case::empty_objects("a.json", "", "{}\n", "", 200_000)]
#[case::broken_lines("a.json", "", "{\"a\" 1}\n", "", 100_000)]
#[case::open_ends("a.json", "", "{\"a\":[\n", "", 20_000)]
#[case::empty_lists("a.json", "{\"kind\":\"List\",\"items\":[[]", ",[]", "]}", 500_000)]
#[case::small_maps("a.json", "{\"kind\":\"List\",\"items\":[{}", ",{\"a\":1}", "]}", 500_000)]
#[case::one_object_of_small_maps("a.json", "{\"kind\":\"Service\",\"spec\":[{}", ",{\"a\":1}", "]}", 500_000)]
#[case::small_maps_in_yaml("a.yaml", "kind: List\nitems:\n", "- a: 1\n", "", 50_000)]
#[case::empty_lists_in_yaml("a.yaml", "kind: List\nitems: [[]", ",[]", "]", 100_000)]
#[case::broken_documents("a.yaml", "", "a: [\n---\n", "", 10_000)]
#[case::slices_that_are_broken("a.yaml", "", "kind: EndpointSlice\na: [\n---\n", "", 10_000)]
fn a_hostile_file_takes_little_memory_and_linear_time(
    #[case] name: &str,
    #[case] begin: &str,
    #[case] part: &str,
    #[case] end: &str,
    #[case] count: usize,
) {
    let text = format!("{begin}{}{end}", part.repeat(count));
    let folder = folder(&[(name, text.as_bytes())]);
    // Eight times the file, and more than twice what the program takes with an empty one. Its own pages do not count (setrlimit(2),
    // RLIMIT_DATA), of which there are more with each release.
    let most = 8 * text.len() / 1024 + 8_000;
    let output = Command::new("bash")
        .arg("-c")
        .arg(format!(
            r#"ulimit -d {most} -t 60; exec "$0" audit -o json --from "$1""#
        ))
        .arg(env!("CARGO_BIN_EXE_evenkeel"))
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some(), "{}: {told}", output.status);
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = view["unreadable"].as_array().unwrap().len();
    assert!((1..=1010).contains(&problems), "{problems} problems");
}
