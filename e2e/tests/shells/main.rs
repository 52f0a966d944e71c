//! Completions as people meet them: real shells in a pseudo terminal, the Tab key, and a real control plane. Needs zsh and fish
//! beside bash, and `script` (util-linux); `make shells` runs it.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use evenkeel_e2e::ControlPlane;
use evenkeel_e2e::repository::{example, root};
use evenkeel_e2e::under_test::{binary, evenkeel_json};

/// How long a shell may take to show something: it starts, reads a script, and asks a program that asks a server.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shells, how each is started without the settings of a user, and how it reads our script.
const SHELLS: [(&str, &str, &str); 3] = [
    (
        "bash",
        "bash --noprofile --norc -i",
        "source <(evenkeel completions bash)",
    ),
    (
        "zsh",
        "zsh -f -i",
        "autoload -Uz compinit && compinit -u; source <(evenkeel completions zsh)",
    ),
    (
        "fish",
        "fish --no-config -i",
        "evenkeel completions fish | source",
    ),
];

/// A shell in a terminal of its own.
struct Terminal {
    process: Child,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn start(shell: &str, home: &Path, kubeconfig: &Path) -> Self {
        let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
        let mut process = Command::new("script")
            .args(["-qefc", shell, "/dev/null"])
            .env("PATH", path)
            .env("HOME", home)
            .env("TERM", "xterm")
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = process.stdout.take().unwrap();
        let (shown_tx, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                if shown_tx.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            shown,
            text: String::new(),
        }
    }

    /// Types this.
    fn types(&mut self, keys: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits until this is shown; what was shown before is forgotten.
    fn shows(&mut self, what: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text.find(what) {
                self.text.drain(..at + what.len());
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.text += &visible(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{what:?} is not shown, but {:?}", self.text),
            }
        }
    }

    /// Types a line and a Tab, and waits until it is completed to this.
    fn completes(&mut self, line: &str, to: &str) {
        self.types(line);
        self.shows(line.rsplit(' ').next().unwrap());
        self.types("\t");
        self.shows(to);
        // Ctrl-U takes the line away. An interrupt would, too, with whatever is typed before the next prompt.
        self.types("\x15");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A text without the sequences by which a terminal is steered.
fn visible(text: &str) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            shown.push(c);
            continue;
        }
        match chars.next() {
            // A sequence ends with a letter or a mark (ECMA-48, 5.4).
            Some('[') => drop(chars.by_ref().find(|c| ('@'..='~').contains(c))),
            // A title ends with a bell.
            Some(']') => drop(chars.by_ref().find(|c| *c == '\x07' || *c == '\x1b')),
            _ => {}
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_complete_what_exists() {
    let plane = ControlPlane::shared().await.unwrap();
    plane.install_crds(&root().join("crds")).await.unwrap();
    plane
        .apply_yaml(&example("demo/cluster.yaml").unwrap())
        .await
        .unwrap();
    plane
        .apply_yaml(&example("demo/shop.yaml").unwrap())
        .await
        .unwrap();
    let kubeconfig = plane.kubeconfig_path().to_owned();
    let context = {
        let file: serde_json::Value = serde_saphyr::from_str(&plane.kubeconfig().unwrap()).unwrap();
        file["current-context"].as_str().unwrap().to_owned()
    };
    let arguments = [
        "audit",
        "-o",
        "json",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ];
    let (list, _) = evenkeel_json(&arguments).unwrap();
    let id = list["findings"][0]["id"].as_str().unwrap().to_owned();
    let home = tempfile::tempdir().unwrap();
    symlink(binary().unwrap(), home.path().join("evenkeel")).unwrap();
    for (name, start, source) in SHELLS {
        let mut terminal = Terminal::start(start, home.path(), &kubeconfig);
        // Split, so that what is typed is not taken for what it prints.
        terminal.types(&format!("{source}; echo read''y {name}\n"));
        terminal.shows(&format!("ready {name}"));
        terminal.completes("evenkeel aud", "it");
        terminal.completes("evenkeel audit --check keepalive-o", "rder");
        terminal.completes("evenkeel audit --fail-on crit", "ical");
        let (begin, rest) = context.split_at(context.len() / 2);
        terminal.completes(&format!("evenkeel audit --context {begin}"), rest);
        terminal.completes("evenkeel audit -n kube-sy", "stem");
        terminal.completes("evenkeel path - shop/repo", "rts");
        let (begin, rest) = id.split_at(6);
        terminal.completes(&format!("evenkeel explain {begin}"), rest);
        terminal.completes("evenkeel explain CordonN", "ode");
        terminal.completes("evenkeel explain Conflic", "ted");
    }
}
