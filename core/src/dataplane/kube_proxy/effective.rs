//! From what is written to what it does.
//!
//! Zero is the trap here: for every timeout it means that kube-proxy leaves the kernel's value, which is neither
//! "none" nor kube-proxy's own default. The other trap is a value that passes kube-proxy's validation and then has
//! no effect: IPVS timeouts below a second, or above what the kernel takes.

use std::sync::Arc;

use super::{Absent, Field, Given, NAMES, Raw, Settings, refused};
use crate::dataplane::ProxyMode;
use crate::dataplane::linux;
use crate::dataplane::tree::shorten;
use crate::dataplane::version::Version;
use crate::know::{Gap, Known, Origin, Val};

/// Where kube-proxy's defaults were read.
const DEFAULTS_FILE: &str = "pkg/proxy/apis/config/v1alpha1/defaults.go";
/// `conntrack.tcpEstablishedTimeout`: `pkg/proxy/apis/config/v1alpha1/defaults.go`.
const TCP_ESTABLISHED_SECONDS: i64 = 86_400;
/// `conntrack.tcpCloseWaitTimeout`: `pkg/proxy/apis/config/v1alpha1/defaults.go`.
const TCP_CLOSE_WAIT_SECONDS: i64 = 3600;
/// The scheduler of an empty `ipvs.scheduler`: `pkg/proxy/ipvs/proxier.go`.
const SCHEDULER: &str = "rr";
/// Schedulers that Linux has: `net/netfilter/ipvs/Kconfig`.
const SCHEDULERS: [&str; 13] = [
    "rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq",
];
/// The newest scheduler, two random choices: `net/netfilter/ipvs/ip_vs_twos.c`.
const SCHEDULER_TWOS: &str = "twos";

/// The note on mode ipvs, which has an end: `keps/sig-network/5495-deprecate-ipvs`.
pub const IPVS_DEPRECATED: &str =
    "mode ipvs is deprecated since kube-proxy 1.35 and planned to end (KEP-5495)";

/// A kernel's default and where it was read.
type Kernel = (i64, &'static str);

pub(super) fn settings(raw: Raw, place: &str, os: &str, version: Option<Version>) -> Known<Settings> {
    let windows = os.eq_ignore_ascii_case("windows");
    let mode = mode(&raw, place, windows, version);
    let known_mode = mode.as_ref().ok().map(|mode| mode.value);
    validate(&raw, place, known_mode)?;
    if windows {
        return Ok(on_windows(raw, mode));
    }
    let mut resolver = Resolver {
        place,
        raw: &raw,
        notes: Vec::new(),
    };
    let [
        tcp_established_seconds,
        tcp_close_wait_seconds,
        udp_seconds,
        udp_stream_seconds,
    ] = resolver.all_conntrack();
    let ipvs = known_mode.is_none_or(|mode| mode == ProxyMode::Ipvs);
    let accepted = resolver.ipvs_call();
    let mut of_ipvs = |key, kernel| {
        ipvs.then(|| {
            accepted
                .clone()
                .and_then(|taken| resolver.ipvs(key, kernel, taken))
        })
    };
    let ipvs_tcp_seconds = of_ipvs(Field::IpvsTcp, (linux::IPVS_TCP_SECONDS, linux::IPVS_TCP_FILE));
    let ipvs_tcp_fin_seconds = of_ipvs(
        Field::IpvsTcpFin,
        (linux::IPVS_TCP_FIN_SECONDS, linux::IPVS_TCP_FILE),
    );
    let ipvs_udp_seconds = of_ipvs(Field::IpvsUdp, (linux::IPVS_UDP_SECONDS, linux::IPVS_UDP_FILE));
    let mut notes = resolver.notes;
    if accepted == Ok(false) && known_mode == Some(ProxyMode::Ipvs) {
        notes.push(
            format!("{place}: the kernel refuses the IPVS timeouts as too long, so that all three keep its defaults")
                .into(),
        );
    }
    notes.extend(mode_note(known_mode, version));
    let scheduler = ipvs.then(|| scheduler(&raw, place));
    notes.splice(0..0, raw.notes);
    Ok(Settings {
        mode,
        scheduler,
        tcp_established_seconds,
        tcp_close_wait_seconds,
        ipvs_tcp_seconds,
        ipvs_tcp_fin_seconds,
        ipvs_udp_seconds,
        udp_seconds,
        udp_stream_seconds,
        notes,
    })
}

fn on_windows(raw: Raw, mode: Known<Val<ProxyMode>>) -> Settings {
    let none = || {
        Err(Gap::UnsupportedDataPlane(
            "kube-proxy on Windows keeps its timeouts in the host network service".into(),
        ))
    };
    Settings {
        mode,
        scheduler: None,
        tcp_established_seconds: none(),
        tcp_close_wait_seconds: none(),
        ipvs_tcp_seconds: None,
        ipvs_tcp_fin_seconds: None,
        ipvs_udp_seconds: None,
        udp_seconds: none(),
        udp_stream_seconds: none(),
        notes: raw.notes,
    }
}

fn mode(raw: &Raw, place: &str, windows: bool, version: Option<Version>) -> Known<Val<ProxyMode>> {
    let (usual, usual_name) = if windows {
        (ProxyMode::Kernelspace, "kernelspace")
    } else {
        (ProxyMode::Iptables, "iptables")
    };
    let Some(given) = raw.get(Field::Mode) else {
        return match raw.absent {
            Absent::Default => Ok(Val::default_of(
                usual,
                format!("{place} sets no mode: kube-proxy default {usual_name} ({DEFAULTS_FILE})"),
            )),
            Absent::Unreadable => Err(Gap::Opaque(format!("{place} holds no mode").into())),
        };
    };
    let source = || format!("{place} {}: {}", given.name, given.text);
    let mode = match (given.text.as_str(), windows) {
        ("", _) => {
            return Ok(Val::default_of(
                usual,
                format!(
                    "{place} {}: \"\" = kube-proxy default {usual_name} ({DEFAULTS_FILE})",
                    given.name
                ),
            ));
        }
        ("iptables", false) => ProxyMode::Iptables,
        ("ipvs", false) => ProxyMode::Ipvs,
        ("nftables", false) if version.is_none_or(|version| version.at_least(1, 29)) => ProxyMode::Nftables,
        ("kernelspace", true) => ProxyMode::Kernelspace,
        (other, _) => {
            let expected = if windows {
                "kernelspace"
            } else {
                "iptables, ipvs or nftables (since 1.29)"
            };
            return Err(refused(
                place,
                &given.name,
                &format!("`{}`, expected {expected}", shorten(other)),
            ));
        }
    };
    Ok(Val {
        value: mode,
        origin: raw.origin,
        source: source().into(),
    })
}

/// `pkg/proxy/apis/config/validation/validation.go`: no duration may be negative; those of IPVS count in that mode.
fn validate(raw: &Raw, place: &str, mode: Option<ProxyMode>) -> Known<()> {
    for names in &NAMES {
        let ipvs = matches!(names.key, Field::IpvsTcp | Field::IpvsTcpFin | Field::IpvsUdp);
        if ipvs && mode != Some(ProxyMode::Ipvs) {
            continue;
        }
        if let Some(given) = raw.get(names.key).filter(|given| given.duration.is_negative()) {
            return Err(refused(
                place,
                &given.name,
                &format!("{}, expected 0s or more", shorten(&given.text)),
            ));
        }
    }
    Ok(())
}

fn mode_note(mode: Option<ProxyMode>, version: Option<Version>) -> Option<Arc<str>> {
    let version = version?;
    match mode? {
        ProxyMode::Ipvs if version.at_least(1, 35) => Some(IPVS_DEPRECATED.into()),
        ProxyMode::Nftables if !version.at_least(1, 31) => {
            Some("mode nftables is alpha before kube-proxy 1.31 and needs its feature gate".into())
        }
        _ => None,
    }
}

fn scheduler(raw: &Raw, place: &str) -> Known<Val<Arc<str>>> {
    let usual = |what: String| {
        Val::default_of(
            Arc::from(SCHEDULER),
            format!("{what} kube-proxy default {SCHEDULER} (pkg/proxy/ipvs/proxier.go)"),
        )
    };
    match raw.get(Field::Scheduler) {
        None if raw.absent == Absent::Unreadable => {
            Err(Gap::Opaque(format!("{place} holds no scheduler").into()))
        }
        None => Ok(usual(format!("{place} sets no ipvs.scheduler:"))),
        Some(given) if given.text.is_empty() => Ok(usual(format!("{place} {}: \"\" =", given.name))),
        Some(given) if SCHEDULERS.contains(&given.text.as_str()) || given.text == SCHEDULER_TWOS => Ok(Val {
            value: given.text.as_str().into(),
            origin: raw.origin,
            source: format!("{place} {}: {}", given.name, given.text).into(),
        }),
        Some(given) => Err(refused(
            place,
            &given.name,
            &format!(
                "`{}`, expected a scheduler of the kernel such as rr, lc or sh",
                shorten(&given.text)
            ),
        )),
    }
}

struct Resolver<'a> {
    place: &'a str,
    raw: &'a Raw,
    notes: Vec<Arc<str>>,
}

impl Resolver<'_> {
    /// The conntrack timeouts: of established connections, of those in CLOSE-WAIT, of UDP, and of UDP that is answered.
    fn all_conntrack(&mut self) -> [Known<Val<i64>>; 4] {
        let (tcp, udp) = (linux::CONNTRACK_TCP_FILE, linux::CONNTRACK_UDP_FILE);
        let usual = |value| Some((value, "kube-proxy default"));
        [
            (
                Field::Established,
                (linux::TCP_ESTABLISHED_SECONDS, tcp),
                usual(TCP_ESTABLISHED_SECONDS),
            ),
            (
                Field::CloseWait,
                (linux::TCP_CLOSE_WAIT_SECONDS, tcp),
                usual(TCP_CLOSE_WAIT_SECONDS),
            ),
            (Field::Udp, (linux::UDP_SECONDS, udp), None),
            (Field::UdpStream, (linux::UDP_STREAM_SECONDS, udp), None),
        ]
        .map(|(key, kernel, usual)| self.conntrack(key, kernel, usual))
    }

    /// A conntrack timeout, which kube-proxy writes to a sysctl when it is above zero
    /// (`cmd/kube-proxy/app/server_linux.go`). A value that the kernel refuses ends kube-proxy.
    fn conntrack(&mut self, key: Field, kernel: Kernel, usual: Option<(i64, &str)>) -> Known<Val<i64>> {
        let Some(given) = self.raw.get(key) else {
            return self.absent(key, kernel, usual);
        };
        if given.duration.is_zero() {
            return Ok(self.kept(given, kernel));
        }
        let seconds = given.duration.seconds();
        if seconds > linux::TIMEOUT_SECONDS_ALWAYS_TAKEN {
            return Err(self.too_long(given));
        }
        if seconds == 0 {
            self.notes.push(
                format!(
                    "{} {}: {} is cut to 0 seconds, and entries end at once",
                    self.place, given.name, given.text
                )
                .into(),
            );
        }
        Ok(self.set(given, seconds))
    }

    /// An IPVS timeout. kube-proxy cuts it to seconds, and the kernel keeps its value for 0.
    fn ipvs(&mut self, key: Field, kernel: Kernel, taken: bool) -> Known<Val<i64>> {
        let Some(given) = self.raw.get(key) else {
            return self.absent(key, kernel, None);
        };
        let seconds = given.duration.seconds();
        if seconds <= 0 && !given.duration.is_zero() {
            self.notes.push(
                format!(
                    "{} {}: {} has no effect, being less than a second",
                    self.place, given.name, given.text
                )
                .into(),
            );
        }
        Ok(if seconds <= 0 || !taken {
            self.kept(given, kernel)
        } else {
            self.set(given, seconds)
        })
    }

    /// Whether the kernel takes the three IPVS timeouts: they are one call, and one that is too long voids all
    /// (`pkg/proxy/ipvs/proxier.go`, `net/netfilter/ipvs/ip_vs_ctl.c`). The failure is only logged.
    fn ipvs_call(&self) -> Known<bool> {
        let given = [Field::IpvsTcp, Field::IpvsTcpFin, Field::IpvsUdp]
            .into_iter()
            .filter_map(|key| self.raw.get(key));
        let Some(longest) = given.max_by_key(|given| given.duration) else {
            return Ok(true);
        };
        let seconds = longest.duration.seconds();
        if seconds <= linux::TIMEOUT_SECONDS_ALWAYS_TAKEN {
            Ok(true)
        } else if seconds > linux::TIMEOUT_SECONDS_EVER_TAKEN && u32::try_from(seconds).is_ok() {
            Ok(false)
        } else {
            // Between the bounds the kernel's tick rate decides; above 32 bits the value wraps around.
            Err(self.too_long(longest))
        }
    }

    fn absent(&self, key: Field, (kernel, file): Kernel, usual: Option<(i64, &str)>) -> Known<Val<i64>> {
        let Some(names) = NAMES.iter().find(|names| names.key == key) else {
            return Err(Gap::Opaque("a setting without a name".into()));
        };
        let udp = matches!(key, Field::Udp | Field::UdpStream) && self.raw.get(Field::Established).is_some();
        let (place, name) = (self.place, names.field);
        if self.raw.absent == Absent::Unreadable && !udp {
            return Err(Gap::Opaque(format!("{place} holds no {name}").into()));
        }
        Ok(match usual {
            Some((value, whose)) => Val::default_of(
                value,
                format!("{place} sets no {name}: {whose} ({DEFAULTS_FILE})"),
            ),
            None => Val::default_of(kernel, format!("{place} sets no {name}: kernel default ({file})")),
        })
    }

    fn kept(&self, given: &Given, (kernel, file): Kernel) -> Val<i64> {
        let source = format!(
            "{} {}: {} = kernel default ({file})",
            self.place,
            given.name,
            shorten(&given.text)
        );
        Val::default_of(kernel, source)
    }

    fn set(&self, given: &Given, seconds: i64) -> Val<i64> {
        let source = format!("{} {}: {}", self.place, given.name, shorten(&given.text));
        Val {
            value: seconds,
            origin: self.raw.origin,
            source: source.into(),
        }
    }

    fn too_long(&self, given: &Given) -> Gap {
        Gap::Opaque(
            format!(
                "{} {}: {} may be more than the node's kernel takes, expected at most {}s",
                self.place,
                given.name,
                shorten(&given.text),
                linux::TIMEOUT_SECONDS_ALWAYS_TAKEN
            )
            .into(),
        )
    }
}

impl Settings {
    /// The least idle time that a TCP connection through a Service survives in kube-proxy's tables, seconds.
    ///
    /// In IPVS, an entry that ends takes the connection-tracking entry along (`net/netfilter/ipvs/ip_vs_conn.c`), so
    /// both bound it.
    pub fn service_tcp_seconds(&self) -> Known<Val<i64>> {
        match self.mode.clone()?.value {
            ProxyMode::Ipvs => least(&self.tcp_established_seconds, self.ipvs_tcp_seconds.as_ref()),
            _ => self.tcp_established_seconds.clone(),
        }
    }

    /// The same for UDP, for a flow that is answered: the kernel's longer timeout, that of streams, applies to it.
    ///
    /// In IPVS its own timeout alone counts: a flow whose connection-tracking entry has ended is bound to the living
    /// IPVS entry by its next packet (`ip_vs_update_conntrack` in `net/netfilter/ipvs/ip_vs_nfct.c`).
    pub fn service_udp_seconds(&self) -> Known<Val<i64>> {
        match self.mode.clone()?.value {
            ProxyMode::Ipvs => match &self.ipvs_udp_seconds {
                Some(ipvs) => ipvs.clone(),
                None => self.udp_stream_seconds.clone(),
            },
            _ => self.udp_stream_seconds.clone(),
        }
    }

    /// Makes every value Assumed, and says why: what is written may not be what runs.
    pub fn weaken(&mut self, why: &str) {
        fn weaker<T>(known: &mut Known<Val<T>>, why: &str) {
            if let Ok(val) = known {
                val.origin = Origin::Assumed;
                val.source = format!("{}; {why}", val.source).into();
            }
        }
        weaker(&mut self.mode, why);
        for known in [
            Some(&mut self.tcp_established_seconds),
            Some(&mut self.tcp_close_wait_seconds),
            Some(&mut self.udp_seconds),
            Some(&mut self.udp_stream_seconds),
            self.ipvs_tcp_seconds.as_mut(),
            self.ipvs_tcp_fin_seconds.as_mut(),
            self.ipvs_udp_seconds.as_mut(),
        ]
        .into_iter()
        .flatten()
        {
            weaker(known, why);
        }
        if let Some(scheduler) = &mut self.scheduler {
            weaker(scheduler, why);
        }
    }

    /// Whether the mode was read from the running process.
    pub fn is_measured(&self) -> bool {
        self.mode
            .as_ref()
            .is_ok_and(|mode| mode.origin == Origin::Measured)
    }
}

fn least(one: &Known<Val<i64>>, other: Option<&Known<Val<i64>>>) -> Known<Val<i64>> {
    let one = one.clone()?;
    match other {
        None => Ok(one),
        Some(other) => other
            .clone()
            .map(|other| if other.value <= one.value { other } else { one }),
    }
}
