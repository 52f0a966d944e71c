//! k3s and RKE2: kube-proxy inside another process, with defaults of that process.
//!
//! k3s passes `conntrack-tcp-timeout-established=0s` and the same for close-wait, so that the kernel's values apply
//! and not kube-proxy's (`pkg/daemons/agent/agent_linux.go`). Entries of `kube-proxy-arg` go over these defaults.

use super::{Absent, NAMES, Raw};
use crate::dataplane::tree::{Tree, shorten};
use crate::know::{Gap, Known, Origin};

/// What k3s passes on its own: `pkg/daemons/agent/agent_linux.go`.
const DEFAULTS: [(&str, &str); 2] = [
    ("conntrack-tcp-timeout-established", "0s"),
    ("conntrack-tcp-timeout-close-wait", "0s"),
];

/// The list in the node annotation `k3s.io/node-args` or `rke2.io/node-args`.
pub fn node_args(annotation: &str) -> Known<Vec<String>> {
    let unreadable = |why: &str| {
        Gap::Opaque(format!("the annotation node-args is {why}, expected a JSON list of texts").into())
    };
    let Tree::List(items) =
        Tree::from_json(annotation).map_err(|why| unreadable(&format!("no JSON ({why})")))?
    else {
        return Err(unreadable("no list"));
    };
    items
        .into_iter()
        .map(|item| match item {
            Tree::Text(text) => Ok(text),
            other => Err(unreadable(&format!("a list with {}", other.kind()))),
        })
        .collect()
}

/// Whether a node of these arguments runs kube-proxy at all: `--disable-kube-proxy` ends it.
pub fn runs_kube_proxy(args: &[String]) -> bool {
    let mut last = None;
    for arg in args {
        match flag(arg) {
            Some(("disable-kube-proxy", None)) => last = Some(true),
            Some(("disable-kube-proxy", Some(value))) => {
                last = Some(value.eq_ignore_ascii_case("true") || value == "1");
            }
            _ => {}
        }
    }
    last != Some(true)
}

/// `--name=value` or `--name`; k3s takes one dash as well.
fn flag(arg: &str) -> Option<(&str, Option<&str>)> {
    let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    Some(
        flag.split_once('=')
            .map_or((flag, None), |(name, value)| (name, Some(value))),
    )
}

pub(super) fn read(args: &[String], place: &str) -> Known<Raw> {
    if !runs_kube_proxy(args) {
        return Err(Gap::Opaque(
            format!("{place}: disable-kube-proxy, so no kube-proxy runs here").into(),
        ));
    }
    let mut raw = Raw::new(Absent::Default, Origin::Declared);
    for (name, value) in DEFAULTS {
        if let Some(names) = NAMES.iter().find(|names| names.flag == name) {
            raw.set(
                names.key,
                format!("without kube-proxy-arg {name}, k3s passes {name}"),
                value,
                place,
            )?;
        }
    }
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let entry = match flag(arg) {
            Some(("kube-proxy-arg", Some(entry))) => entry,
            Some(("kube-proxy-arg", None)) => match args.next() {
                Some(entry) => entry,
                None => {
                    return Err(Gap::Opaque(
                        format!("{place}: kube-proxy-arg without a value").into(),
                    ));
                }
            },
            _ => continue,
        };
        apply(&mut raw, entry, place)?;
    }
    Ok(raw)
}

fn apply(raw: &mut Raw, entry: &str, place: &str) -> Known<()> {
    let entry = entry.strip_prefix("--").unwrap_or(entry);
    let (name, value) = entry.split_once('=').unwrap_or((entry, "true"));
    let name = name.replace('_', "-");
    if name == "config" {
        return Err(Gap::Opaque(
            format!(
                "{place}: kube-proxy-arg config={} names a file on the node",
                shorten(value)
            )
            .into(),
        ));
    }
    match NAMES.iter().find(|names| names.flag == name) {
        Some(names) => raw.set(names.key, format!("kube-proxy-arg {name}"), value, place),
        None => Ok(()),
    }
}
