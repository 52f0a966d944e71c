//! Calico's eBPF data plane: it replaces kube-proxy, and tracks every connection of a Pod, to a Service or not.
//!
//! With iptables, nftables or VPP below, Calico leaves Services to somebody else; what VPP does is not known here.

use super::duration::GoDuration;
use super::entry::{ByEntry, Carrier, Handling};
use super::tree::shorten;
use super::{ProxyMode, linux};
use crate::know::{Gap, Known, Val};

/// The namespace that the operator of Tigera makes for it (`CalicoNamespace`, `tigera/operator`, `pkg/common/common.go`).
pub const HOMES: &[&str] = &["calico-system"];

/// Established TCP: `TCPEstablished` of `DefaultTimeouts`, `felix/bpf/conntrack/timeouts/timeouts.go`.
const TCP_ESTABLISHED_SECONDS: i64 = 3600;
/// UDP: `UDPTimeout`, the same file.
const UDP_SECONDS: i64 = 60;
/// Where both were read.
const TIMEOUTS_FILE: &str = "felix/bpf/conntrack/timeouts";

/// One object or environment that configures Felix. Of several the first that sets a value counts: the
/// environment, the node's own FelixConfiguration, the one named `default` (`felix/config/config_params.go`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FelixConfig<'a> {
    /// Where it is, as shown to people.
    pub place: &'a str,
    /// `bpfEnabled`, as written.
    pub enabled: Option<FelixValue<'a>>,
    /// `bpfConntrackTimeouts.tcpEstablished`.
    pub tcp_established: Option<&'a str>,
    /// `bpfConntrackTimeouts.udpTimeout`.
    pub udp: Option<&'a str>,
}

/// A setting that may come from elsewhere than the object that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FelixValue<'a> {
    /// The text.
    Text(&'a str),
    /// It is set to what cannot be read here.
    Elsewhere,
}

/// Whether Felix carries Services, and how; `None` where its eBPF data plane is off.
///
/// `conntrack` is what `Auto` reads: the node's `nf_conntrack_tcp_timeout_established`.
pub fn carrier(configs: &[FelixConfig<'_>], conntrack: &Known<Val<i64>>) -> Known<Option<Carrier>> {
    let Some((place, value)) = configs.iter().find_map(|one| Some((one.place, one.enabled?))) else {
        return Ok(None);
    };
    let text = match value {
        FelixValue::Text(text) => text,
        FelixValue::Elsewhere => {
            let why = format!("{place}: whether Calico's eBPF data plane is on is set elsewhere");
            return Err(Gap::Opaque(why.into()));
        }
    };
    match on(text) {
        Some(true) => {}
        Some(false) => return Ok(None),
        None => {
            let why = format!("{place} bpfEnabled: `{}`, expected true or false", shorten(text));
            return Err(Gap::Opaque(why.into()));
        }
    }
    let tcp = seconds(
        configs,
        |one| one.tcp_established,
        "tcpEstablished",
        TCP_ESTABLISHED_SECONDS,
        Some(conntrack),
    );
    let udp = seconds(configs, |one| one.udp, "udpTimeout", UDP_SECONDS, None);
    Ok(Some(Carrier {
        name: "Calico eBPF".into(),
        mode: Ok(Val::declared(
            ProxyMode::Other,
            format!("Calico's eBPF data plane: {place} bpfEnabled: {}", shorten(text)),
        )),
        tcp: ByEntry::all(&Handling::Own(tcp)),
        udp: ByEntry::all(&Handling::Own(udp)),
    }))
}

/// What Felix takes for a truth value: `felix/config/param_types.go`, `BoolParam`.
fn on(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "n" | "f" => Some(false),
        _ => None,
    }
}

/// A timeout: what is no duration is only logged, and the default stays (`GetTimeouts`).
fn seconds<'a>(
    configs: &[FelixConfig<'a>],
    of: impl Fn(&FelixConfig<'a>) -> Option<&'a str>,
    name: &str,
    usual: i64,
    auto: Option<&Known<Val<i64>>>,
) -> Known<Val<i64>> {
    let default = |note: String| {
        Ok(Val::default_of(
            usual,
            format!("Calico eBPF default {usual} s ({TIMEOUTS_FILE}){note}"),
        ))
    };
    let Some((place, text)) = configs.iter().find_map(|one| Some((one.place, of(one)?))) else {
        return default(String::new());
    };
    if let (Some(auto), "Auto") = (auto, text) {
        return auto.clone();
    }
    match GoDuration::parse(text) {
        Ok(duration) if duration.seconds() > 0 && duration.seconds() <= linux::TIMEOUT_SECONDS_EVER_TAKEN => {
            Ok(Val::declared(
                duration.seconds(),
                format!("{place} bpfConntrackTimeouts.{name}: {text}"),
            ))
        }
        _ => default(format!(
            ", as {place} bpfConntrackTimeouts.{name} is `{}`",
            shorten(text)
        )),
    }
}

/// What `linuxDataplane` of the operator's `Installation` makes of `bpfEnabled` (`tigera/operator`,
/// `pkg/controller/installation/bpf.go`): `BPF` sets it, and the others do not.
pub fn installs_bpf(linux_dataplane: &str) -> bool {
    linux_dataplane == "BPF"
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::know::Origin;

    fn place(enabled: Option<&'static str>, tcp: Option<&'static str>) -> FelixConfig<'static> {
        FelixConfig {
            place: "FelixConfiguration default",
            enabled: enabled.map(FelixValue::Text),
            tcp_established: tcp,
            udp: None,
        }
    }

    fn tcp(configs: &[FelixConfig<'_>]) -> Option<(i64, Origin)> {
        let found = carrier(configs, &Ok(Val::default_of(86_400, "kube-proxy"))).unwrap()?;
        match found.tcp.pod {
            Handling::Own(Ok(val)) => Some((val.value, val.origin)),
            _ => None,
        }
    }

    #[rstest]
    #[case::off(&[place(Some("false"), None)], None)]
    #[case::not_said(&[place(None, Some("2h"))], None)]
    #[case::default(&[place(Some("true"), None)], Some((3600, Origin::Default)))]
    #[case::set(&[place(Some("true"), Some("2h"))], Some((7200, Origin::Declared)))]
    #[case::of_the_node(&[place(Some("true"), Some("Auto"))], Some((86_400, Origin::Default)))]
    #[case::no_time_at_all(&[place(Some("true"), Some("0s"))], Some((3600, Origin::Default)))]
    #[case::nonsense(&[place(Some("true"), Some("long"))], Some((3600, Origin::Default)))]
    #[case::the_first_counts(&[place(Some("true"), None), place(Some("false"), Some("2h"))], Some((7200, Origin::Declared)))]
    #[case::the_first_is_off(&[place(Some("False"), None), place(Some("true"), None)], None)]
    fn by_place(#[case] configs: &[FelixConfig<'_>], #[case] expected: Option<(i64, Origin)>) {
        assert_eq!(tcp(configs), expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_off() {
        let mut elsewhere = place(None, None);
        elsewhere.enabled = Some(FelixValue::Elsewhere);
        assert!(carrier(&[elsewhere], &Err(Gap::Opaque("".into()))).is_err());
        assert!(carrier(&[place(Some("maybe"), None)], &Err(Gap::Opaque("".into()))).is_err());
    }
}
