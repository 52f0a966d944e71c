//! kube-router: its Service proxy is IPVS, with timeouts by flag.

use super::duration::GoDuration;
use super::entry::{ByEntry, Carrier, Handling};
use super::tree::shorten;
use super::{ProxyMode, linux};
use crate::know::{Gap, Known, Val};

/// What kube-router carries by its command line; `Ok(None)` where its Service proxy is off.
///
/// `--run-service-proxy` is on unless set. Timeouts of 0 keep the kernel's (`pkg/options/options.go`,
/// `docs/user-guide.md`).
pub fn carrier(argv: &[String], place: &str) -> Known<Option<Carrier>> {
    let on = match value(argv, "run-service-proxy") {
        None => true,
        Some(text) => match text {
            "true" | "True" | "TRUE" | "1" | "t" | "T" => true,
            "false" | "False" | "FALSE" | "0" | "f" | "F" => false,
            other => {
                let why = format!(
                    "{place} --run-service-proxy={}: expected true or false",
                    shorten(other)
                );
                return Err(Gap::Opaque(why.into()));
            }
        },
    };
    if !on {
        return Ok(None);
    }
    let tcp = seconds(
        argv,
        place,
        "service-tcp-timeout",
        linux::IPVS_TCP_SECONDS,
        linux::IPVS_TCP_FILE,
    );
    let udp = seconds(
        argv,
        place,
        "service-udp-timeout",
        linux::IPVS_UDP_SECONDS,
        linux::IPVS_UDP_FILE,
    );
    let ways = |seconds: Known<Val<i64>>| ByEntry {
        direct: Handling::Free,
        ..ByEntry::all(&Handling::Ipvs(seconds))
    };
    Ok(Some(Carrier {
        name: "kube-router".into(),
        mode: Ok(Val::declared(
            ProxyMode::Ipvs,
            format!("kube-router's Service proxy ({place})"),
        )),
        tcp: ways(tcp),
        udp: ways(udp),
    }))
}

/// The last value of a flag; `true` where it stands alone. kube-router parses with pflag: a truth value needs `=`.
fn value<'a>(argv: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = None;
    let mut words = argv.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            continue;
        };
        match flag.split_once('=') {
            Some((flag, value)) if flag == name => found = Some(value),
            None if flag == name && name.starts_with("run-") => found = Some("true"),
            None if flag == name => found = words.peek().map(|next| next.as_str()),
            _ => {}
        }
    }
    found
}

fn seconds(argv: &[String], place: &str, flag: &str, kernel: i64, file: &str) -> Known<Val<i64>> {
    let kept = |flag: &str| {
        Ok(Val::default_of(
            kernel,
            format!("{place} {flag}: kernel default ({file})"),
        ))
    };
    let Some(text) = value(argv, flag) else {
        return kept(&format!("sets no --{flag}"));
    };
    match GoDuration::parse(text) {
        Ok(duration) if duration.is_zero() => kept(&format!("--{flag}={text}")),
        Ok(duration)
            if duration.seconds() > 0 && duration.seconds() <= linux::TIMEOUT_SECONDS_ALWAYS_TAKEN =>
        {
            Ok(Val::declared(
                duration.seconds(),
                format!("{place} --{flag}={text}"),
            ))
        }
        _ => Err(Gap::Opaque(
            format!(
                "{place} --{flag}={}: expected a duration such as 15m0s",
                shorten(text)
            )
            .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn tcp(args: &[&str]) -> Known<Option<i64>> {
        let argv: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
        let Some(found) = carrier(&argv, "DaemonSet kube-system/kube-router")? else {
            return Ok(None);
        };
        let (Handling::Ipvs(pod), Handling::Ipvs(outside)) = (found.tcp.pod, found.tcp.outside) else {
            panic!("IPVS by every way");
        };
        assert_eq!(pod, outside);
        Ok(Some(pod?.value))
    }

    #[rstest]
    #[case::defaults(&["--run-router=true"], Some(900))]
    #[case::alone(&["--run-service-proxy"], Some(900))]
    #[case::off(&["--run-service-proxy=false"], None)]
    #[case::the_last_counts(&["--run-service-proxy=false", "--run-service-proxy=true"], Some(900))]
    #[case::kept(&["--service-tcp-timeout=0s"], Some(900))]
    #[case::set(&["--service-tcp-timeout=1h"], Some(3600))]
    #[case::apart(&["--service-tcp-timeout", "1h"], Some(3600))]
    fn by_flags(#[case] args: &[&str], #[case] expected: Option<i64>) {
        assert_eq!(tcp(args).unwrap(), expected);
    }

    #[rstest]
    #[case(&["--service-tcp-timeout=900"])]
    #[case(&["--service-tcp-timeout=-1s"])]
    #[case(&["--run-service-proxy=$(RUN)"])]
    fn nonsense_is_no_default(#[case] args: &[&str]) {
        assert!(tcp(args).is_err());
    }
}
