//! What a new user meets: help, errors of the right class, completions, and pages that fit.

use std::process::{Command, Output};

use rstest::rstest;

use super::{code, evenkeel, folder, out};

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// With this environment and nothing that names a cluster.
fn with(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .current_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"))
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn every_help_has_examples_and_exit_codes() {
    let all = out(&evenkeel(&["--help"]));
    let commands = all
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    // A command stands two columns in; the lines of its description stand further in.
    let named = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = named.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 12 && names[0] == "audit", "{names:?}");
    for command in names.into_iter().filter(|name| *name != "help") {
        let help = out(&evenkeel(&[command, "--help"]));
        assert!(
            help.contains("Examples:") && help.contains("Exit codes:"),
            "{help}"
        );
    }
}

/// A terminal of a CI system says that it has no columns, and so may `COLUMNS`.
#[rstest]
#[case("80", 80)]
#[case("0", 100)]
fn help_fits(#[case] columns: &str, #[case] fits: usize) {
    for command in ["audit", "run", "collect", "uninstall"] {
        let help = out(&with(&[("COLUMNS", columns)], &[command, "--help"]));
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!((60..=fits).contains(&widest), "{widest}: {help}");
    }
}

#[rstest]
#[case("audit")]
#[case("path")]
#[case("explain")]
#[case("status")]
fn own_flags_come_first(#[case] command: &str) {
    let help = out(&evenkeel(&[command, "--help"]));
    // The cluster's flags come last: what is asked for is read first.
    let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("{text}: {help}"));
    assert!(at("--output") < at("--kubeconfig"), "{help}");
}

#[rstest]
#[case::no_kubeconfig(&["audit"], "error: no kubeconfig: ~/.kube/config does not exist; use --kubeconfig")]
#[case::no_such_file(&["status", "--kubeconfig", "/nonexistent/config"], "error: no kubeconfig: /nonexistent/config does not exist")]
#[case::namespace(&["audit", "--from", "b1", "-n", "shopp"], "error: there is no namespace shopp; did you mean shop?")]
#[case::check(&["audit", "--from", "b1", "--check", "path-idle-bugdet"], "error: there is no check path-idle-bugdet (`evenkeel checks` lists them); did you mean path-idle-budget?")]
#[case::no_file(&["audit", "--from", "nowhere"], "error: nowhere does not exist; --from takes files and folders")]
#[case::one_of_two_namespaces(&["audit", "--from", "b1", "-n", "shop,shpo"], "error: there is no namespace shpo; did you mean shop?")]
#[case::no_number(&["path", "cart", "shop/checkout:grpc", "--from", "b1"], "error: `grpc` is no number of a port: write one from 1 to 65535, as in shop/checkout:80")]
#[case::another_namespace(&["path", "cart", "checkout", "--from", "b1"], "did you mean shop/checkout?")]
#[case::of_a_prometheus(&["run", "--prometheus", "monitoring"], "expected NAMESPACE/SERVICE:PORT, such as monitoring/prometheus:9090")]
#[case::service(&["path", "cart", "shop/chekout", "--from", "b1"], "error: there is no Service shop/chekout; did you mean checkout?")]
#[case::client(&["path", "crat", "shop/checkout", "--from", "b1"], "(but cart to port 8080); did you mean cart?")]
#[case::prometheus(&["audit", "--from", "b1", "--prometheus-tenant", "a"], "<--prometheus <NAMESPACE/SERVICE:PORT>|--prometheus-url <URL>>")]
#[case::explained(&["explain", "keepalive-ordr"], "; did you mean keepalive-order?")]
fn an_error_says_what_is_wrong_once(#[case] arguments: &[&str], #[case] expected: &str) {
    let output = with(&[], arguments);
    assert_eq!(code(&output), 2);
    let text = told(&output);
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("Status {") && !text.contains("Err("), "{text}");
    assert_eq!(
        text.matches("/nonexistent/config").count(),
        expected.matches("/nonexistent/config").count()
    );
}

/// What a parser says begins with a word of its own.
#[rstest]
#[case::not_closed("clusters: [\n", ": line 1, column 11: unclosed bracket '['")]
#[case::no_list("clusters: 7\n", ": line 1, column 11: expected sequence start")]
#[case::binary("\u{0}", ": line 1, column 1: ")]
fn a_kubeconfig_that_is_none_is_an_error_once(#[case] text: &str, #[case] expected: &str) {
    let folder = folder(&[("config", text.as_bytes())]);
    let path = folder.path().join("config");
    let said = told(&with(&[], &["status", "--kubeconfig", path.to_str().unwrap()]));
    let begin = format!("error: kubeconfig {}{expected}", path.display());
    assert!(
        said.starts_with(&begin) && said.matches("error").count() == 1,
        "{said}"
    );
}

/// A long error is laid out for the screen, and stays one line where a program reads it. A command in it stays whole.
#[rstest]
#[case::screen(&[("COLUMNS", "60")], true)]
#[case::pipe(&[], false)]
fn an_error_fits_the_screen(#[case] environment: &[(&str, &str)], #[case] is_wrapped: bool) {
    let said = told(&with(environment, &["explain", "no-such-thing-anywhere"]));
    assert_eq!(said.lines().count() > 1, is_wrapped, "{said}");
    if is_wrapped {
        assert!(said.lines().all(|line| line.chars().count() <= 60), "{said}");
    }
    assert!(said.contains("`evenkeel checks`"), "{said}");
}

/// An id is completed from what `explain` will read.
#[test]
fn ids_of_findings_in_files_are_completed() {
    let (_, list) = super::json(&["audit", "--from", "b1", "-o", "json"]);
    let id = list["findings"][0]["id"].as_str().unwrap();
    let candidates = |from: &str| {
        let words = ["--", "evenkeel", "explain", "--from", from, &id[..4]];
        let asked = [
            ("EVENKEEL_COMPLETE", "bash"),
            ("_CLAP_COMPLETE_INDEX", "4"),
            ("_CLAP_IFS", "\n"),
        ];
        out(&with(&asked, &words))
    };
    assert_eq!(candidates("b1"), id);
    assert_eq!(candidates("nowhere"), "");
}

#[test]
fn the_checks_are_not_listed_where_one_is_mistyped() {
    let text = told(&evenkeel(&["docs", "path-idle"]));
    assert!(text.contains("did you mean path-idle-budget?"), "{text}");
    assert!(!text.contains("keepalive-order"), "{text}");
}

/// What `status` shows is explained, whatever it is.
#[rstest]
#[case::reason("Conflicted", "A reason of the condition Accepted=True: ")]
#[case::remedy("CordonNode", "A node that comes and goes")]
#[case::guard("BudgetSpent", "A guard: it holds a remedy back where ")]
#[case::check("keepalive-order", "## Formula")]
fn every_word_of_a_status_is_explained(#[case] word: &str, #[case] expected: &str) {
    let output = evenkeel(&["explain", word]);
    assert_eq!(code(&output), 0, "{}", told(&output));
    let text = out(&output);
    assert!(text.starts_with(&format!("# {word}\n")), "{text}");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_flag_before_the_command_gets_a_tip() {
    let text = told(&evenkeel(&["-n", "shop", "audit"]));
    assert!(text.contains("tip: flags go behind the command"), "{text}");
}

#[test]
fn what_cannot_be_reached_is_named() {
    // A port of loopback on which nothing listens: that of a listener that is gone.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: \"http://{address}\"}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nusers: [{{name: a, user: {{}}}}]\n"
    );
    let folder = folder(&[("config", config.as_bytes())]);
    let path = folder.path().join("config");
    let output = with(&[], &["audit", "--kubeconfig", path.to_str().unwrap()]);
    let text = told(&output);
    assert_eq!((code(&output), text.lines().count()), (2, 1), "{text}");
    let expected = format!("error: http://{address} cannot be reached: ");
    assert!(text.starts_with(&expected), "{text}");
}

const DRAFT: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: TrafficHealthPolicy
metadata: {name: a, namespace: shop}
spec:
  services: {names: [checkout]}
  connections:
    - name: grpc
      protocol: grpc
      longestSilenceSeconds: 30m
      clinets: []
      server:
        tcpKeepalive: {state: on}
";

#[test]
fn a_mistake_in_a_draft_has_a_place_a_value_and_an_example() {
    let folder = folder(&[("draft.yaml", DRAFT.as_bytes())]);
    let path = folder.path().join("draft.yaml");
    let output = evenkeel(&["audit", "--from", "b1", "--policy", path.to_str().unwrap()]);
    let text = out(&output);
    for expected in [
        "line 8, column 17",
        "spec.connections[0].protocol: must be one of",
        "found \"grpc\"; did you mean GRPC?",
        "line 9, column 30",
        "spec.connections[0].longestSilenceSeconds: must be a whole number, found \"30m\"; in seconds: 1800",
        "spec.connections[0].clinets: unknown field; did you mean clients?",
        "; did you mean Enabled?",
    ] {
        // YAML 1.1 and 1.2 read `on` differently: either way the word is offered.
        let text = text.replace("; write Enabled", "; did you mean Enabled?");
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn drafts_that_contradict_each_other_are_named() {
    let draft = |name: &str, idle: u32| {
        format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: TrafficHealthPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec:\n  services: {{names: [checkout]}}\n  connections:\n    - name: grpc\n      protocol: GRPC\n      \
             server: {{idleTimeoutSeconds: {idle}}}\n"
        )
    };
    let (one, two) = (draft("one", 60), draft("two", 700));
    let folder = folder(&[("one.yaml", one.as_bytes()), ("two.yaml", two.as_bytes())]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text = out(&evenkeel(&[
        "audit",
        "--from",
        "b1/service.yaml",
        "--policy",
        &path("one.yaml"),
        "--policy",
        &path("two.yaml"),
    ]));
    let expected = "policies shop/one and two contradict each other on Service checkout: server at port";
    assert!(
        text.contains(expected) && text.contains("idleTimeoutSeconds is 60 and 700"),
        "{text}"
    );
}

#[rstest]
#[case("80", 80)]
#[case("200", 200)]
#[case("0", 100)]
fn a_page_fits_the_screen(#[case] columns: &str, #[case] most: usize) {
    let output = with(&[("COLUMNS", columns)], &["audit", "--from", "b1"]);
    for line in out(&output).lines().filter(|line| !line.starts_with("Next: ")) {
        assert!(line.chars().count() <= most, "{line}");
    }
}

#[rstest]
#[case::pipe(&[], &[], false)]
#[case::always(&[], &["--color", "always"], true)]
#[case::forced(&[("CLICOLOR_FORCE", "1")], &[], true)]
#[case::never(&[("CLICOLOR_FORCE", "1")], &["--color", "never"], false)]
#[case::no_color(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[], false)]
fn colour_is_asked_for(#[case] environment: &[(&str, &str)], #[case] more: &[&str], #[case] expected: bool) {
    let arguments = [&["audit", "--from", "b1"], more].concat();
    assert_eq!(out(&with(environment, &arguments)).contains("\x1b["), expected);
}

/// What bash would offer for the last word.
fn completed(words: &[&str]) -> String {
    let index = (words.len() - 1).to_string();
    let environment = [
        ("EVENKEEL_COMPLETE", "bash"),
        ("_CLAP_IFS", "\n"),
        ("_CLAP_COMPLETE_INDEX", &*index),
        ("_CLAP_COMPLETE_COMP_TYPE", "9"),
        ("_CLAP_COMPLETE_SPACE", "false"),
    ];
    out(&with(&environment, &[&["--"], words].concat()))
}

#[test]
fn shells_complete_commands_checks_and_contexts() {
    let script = out(&evenkeel(&["completions", "bash"]));
    assert!(script.contains("EVENKEEL_COMPLETE"), "{script}");
    assert_eq!(code(&evenkeel(&["completions", "tcsh"])), 2);
    assert!(completed(&["evenkeel", "ver"]).contains("version"));
    assert!(completed(&["evenkeel", "explain", "path-"]).contains("path-idle-budget"));
    assert!(completed(&["evenkeel", "audit", "--check", "keepalive-o"]).contains("keepalive-order"));
    let config = b"apiVersion: v1\nkind: Config\ncontexts: [{name: prod, context: {cluster: a}}, {name: test, context: {cluster: a}}]\n";
    let folder = folder(&[("config", config)]);
    let path = folder.path().join("config");
    let names = completed(&[
        "evenkeel",
        "audit",
        "--kubeconfig",
        path.to_str().unwrap(),
        "--context",
        "p",
    ]);
    assert_eq!(names.trim(), "prod");
}

/// `kubectl` calls a plugin by the name of its file.
#[test]
fn as_a_plugin_it_names_itself_so() {
    let folder = folder(&[]);
    let path = folder.path().join("kubectl-evenkeel");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_evenkeel"), &path).unwrap();
    let called = |arguments: &[&str]| out(&Command::new(&path).args(arguments).output().unwrap());
    let help = called(&["audit", "--help"]);
    assert!(help.contains("Usage: kubectl evenkeel audit"), "{help}");
    let b1 = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/b1");
    let page = called(&["audit", "--from", b1.to_str().unwrap()]);
    assert!(page.contains("\nNext: kubectl evenkeel explain "), "{page}");
}

#[test]
fn pages_and_versions() {
    let folder = folder(&[]);
    let path = folder.path().join("man1");
    assert_eq!(code(&evenkeel(&["man", path.to_str().unwrap()])), 0);
    let page = std::fs::read_to_string(path.join("evenkeel-audit.1")).unwrap();
    assert!(page.contains("fail\\-on"), "{page}");
    let text = out(&evenkeel(&["version", "--client"]));
    assert_eq!(text, format!("evenkeel  {}\n", env!("CARGO_PKG_VERSION")));
    let page = out(&evenkeel(&["docs", "path-idle-budget"]));
    assert!(page.starts_with("# path-idle-budget\n"), "{page}");
    assert!(out(&evenkeel(&["docs"])).contains("path-idle-budget"));
}

#[test]
fn what_is_met_is_counted_and_listed() {
    let text = |more: &[&str]| out(&evenkeel(&[&["audit", "--from", "b1"], more].concat()));
    assert!(text(&[]).contains(" met by "), "{}", text(&[]));
    assert!(!text(&[]).contains("✓ backend-none-ready: "));
    assert!(
        text(&["--met"]).contains("✓ backend-none-ready: "),
        "{}",
        text(&["--met"])
    );
}
