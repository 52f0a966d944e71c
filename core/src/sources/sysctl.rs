//! Names of sysctls, and which of them a command sets.

/// A sysctl's name with dots: Kubernetes takes slashes as well since 1.25 (`pkg/kubelet/sysctl`, `sysctl(8)`).
///
/// The first separator decides which kind is meant: after a slash, a dot belongs to a name such as `eth0.1`.
pub(crate) fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

/// Stands for a sysctl that a command sets, where its name is unknown.
pub const ANY: &str = "";

/// The longest name or value that is taken for one.
const LONGEST: usize = 64;

/// The most settings that are kept of one container.
const MOST: usize = 16;

/// What a container of this name, image and command line seems to set: names with dots, and the value where the
/// command line holds it, else empty. [`ANY`] where it sets something that cannot be read from here: a file, a script
/// of the image.
pub fn set_by<'t>(name: &str, image: &str, argv: impl Iterator<Item = &'t str>) -> Vec<(String, String)> {
    let (mut found, mut empty, mut mentions) = (Vec::new(), true, false);
    for text in argv {
        empty = false;
        if text.contains("sysctl") || text.contains("/proc/sys/") || is_setting(text) {
            mentions |= text.contains("sysctl") || text.contains("/proc/sys/");
            read(text, &mut found);
        }
    }
    let speaks = |text: &str| text.contains("sysctl");
    if (mentions && found.is_empty()) || (empty && (speaks(name) || speaks(image))) {
        return vec![(ANY.to_owned(), String::new())];
    }
    if !mentions {
        // `net.core.x=1` as an argument of something that is no sysctl is that program's own affair.
        return Vec::new();
    }
    found.truncate(MOST);
    found
}

/// Whether a word is `net.ipv4.something=value`.
fn is_setting(word: &str) -> bool {
    setting(word).is_some()
}

fn setting(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let known = name.starts_with("net.") || name.starts_with("net/");
    (known && name.len() <= LONGEST && value.len() <= LONGEST).then(|| (dotted(name), value.to_owned()))
}

/// Reads the settings of a line for a shell, or of one of its words.
fn read(line: &str, found: &mut Vec<(String, String)>) {
    let mut number = "";
    let cut = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '"' | '\'' | '>' | '(' | ')');
    for word in line.split(cut).filter(|word| !word.is_empty()) {
        if let Some(one) = setting(word) {
            found.push(one);
        } else if let Some(path) = word
            .strip_prefix("/proc/sys/")
            .filter(|path| path.len() <= LONGEST)
        {
            found.push((path.replace('/', "."), number.to_owned()));
        } else if word.bytes().all(|byte| byte.is_ascii_digit()) && word.len() <= LONGEST {
            number = word;
            continue;
        }
        number = "";
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_time")]
    #[case("net/ipv4/tcp_keepalive_time", "net.ipv4.tcp_keepalive_time")]
    #[case("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding")]
    #[case("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding")]
    fn one_spelling(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(dotted(name), expected);
    }

    const TIME: &str = "net.ipv4.tcp_keepalive_time";

    #[rstest]
    #[case::words(&["sysctl", "-w", "net.ipv4.tcp_keepalive_time=60"], &[(TIME, "60")])]
    #[case::slashes(&["sysctl", "-w", "net/ipv4/tcp_keepalive_time=60"], &[(TIME, "60")])]
    #[case::shell(&["sh", "-c", "sysctl -w \"net.ipv4.tcp_keepalive_time=60\" && exec app"], &[(TIME, "60")])]
    #[case::file(&["sh", "-c", "echo 60 > /proc/sys/net/ipv4/tcp_keepalive_time"], &[(TIME, "60")])]
    #[case::file_and_another(
        &["sh", "-c", "echo 60 >/proc/sys/net/ipv4/tcp_keepalive_time; echo \"9\" > /proc/sys/net/ipv4/tcp_keepalive_probes"],
        &[(TIME, "60"), ("net.ipv4.tcp_keepalive_probes", "9")],
    )]
    #[case::computed(&["sh", "-c", "sysctl -w net.ipv4.tcp_keepalive_time=$TIME"], &[(TIME, "$TIME")])]
    #[case::from_a_file(&["sysctl", "-p", "/etc/tuning.conf"], &[(ANY, "")])]
    #[case::nothing_of_it(&["app", "--port=80"], &[])]
    #[case::no_sysctl(&["app", "net.ipv4.tcp_keepalive_time=60"], &[])]
    fn commands(#[case] argv: &[&str], #[case] expected: &[(&str, &str)]) {
        let found = set_by("init", "busybox", argv.iter().copied());
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_image_for_it_may_set_anything() {
        let any = vec![(ANY.to_owned(), String::new())];
        assert_eq!(set_by("tune", "registry/sysctl:1", [].into_iter()), any);
        assert_eq!(set_by("tune", "registry/app:1", [].into_iter()), []);
    }
}
