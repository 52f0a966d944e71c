//! When a Pod's socket that arms TCP keepalive without a time of its own sends the first probe.

use crate::names::Names;
use crate::sources::sysctl;
use crate::sources::workload::Template;

/// The setting of a network namespace that sockets without a time of their own take.
const KEEPALIVE_TIME: &str = "net.ipv4.tcp_keepalive_time";

/// Where the time of the first probe comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstProbe {
    /// `securityContext.sysctls` says so many seconds.
    Declared(i64),
    /// A command of the Pod seems to set it, to so many seconds where that can be read.
    ByCommand(Option<i64>),
    /// Nothing sets it: a new network namespace has the kernel's default, whatever the node has.
    Kernel,
    /// The Pod uses the node's network, whose settings are in no object.
    OfTheNode,
}

/// Where Pods of a template have it from.
pub fn first_probe(names: &Names, template: &Template) -> FirstProbe {
    if template.host_network {
        return FirstProbe::OfTheNode;
    }
    let number = |text: &str| text.trim().parse::<i64>().ok().filter(|seconds| *seconds > 0);
    // Commands run after the sandbox was made with its sysctls, so theirs is the last word.
    if let Some(text) = template.set_by_command.text(names, KEEPALIVE_TIME) {
        return FirstProbe::ByCommand(number(text));
    }
    if template.set_by_command.text(names, sysctl::ANY).is_some() {
        return FirstProbe::ByCommand(None);
    }
    let declared = template.sysctls.text(names, KEEPALIVE_TIME).and_then(number);
    declared.map_or(FirstProbe::Kernel, FirstProbe::Declared)
}
