//! Versions as images, kubelets and kernels write them.
//!
//! Vendors append what they like (`v1.15.8-eksbuild.1`, `4.19.91-26.al7.x86_64`), so only the leading numbers count,
//! and of the rest only whether it marks a build before the release.

use std::cmp::Ordering;
use std::fmt;

/// The leading numbers of a version. A build before a release orders before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number, 0 where it is not written.
    pub patch: u32,
    /// Whether the rest marks a build before the release: `-rc.1`, `-alpha`, `-dev`.
    pub before_release: bool,
}

impl Version {
    /// A released version.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
            before_release: false,
        }
    }

    /// Reads a version or an image tag; `None` where it does not begin with two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (major, rest) = number(text)?;
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        let (patch, rest) = match rest.strip_prefix('.').and_then(number) {
            Some((patch, rest)) => (patch, rest),
            None => (0, rest),
        };
        // A digest after the tag is no part of the version.
        let rest = rest.split('@').next().unwrap_or_default();
        Some(Self {
            major,
            minor,
            patch,
            before_release: marks_before_release(rest),
        })
    }

    /// Reads the tag of a container image: `registry:5000/path/name:v1.15.8@sha256:…`.
    pub fn of_image(image: &str) -> Option<Self> {
        Self::parse(image_tag(image)?)
    }

    /// Whether this is `major.minor` or later, builds before that release included.
    ///
    /// A release candidate of 1.16 already behaves as 1.16 does, which is what defaults by version ask for.
    pub const fn at_least(self, major: u32, minor: u32) -> bool {
        self.major > major || (self.major == major && self.minor >= minor)
    }
}

/// The tag of a container image, if it has one: a digest is not a tag, and a registry's port is none either.
pub fn image_tag(image: &str) -> Option<&str> {
    let without_digest = image.split('@').next()?;
    let name = without_digest.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag)
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    digits.parse().ok().map(|number| (number, rest))
}

fn marks_before_release(rest: &str) -> bool {
    rest.split(['-', '.', '+', '_'])
        .filter(|word| !word.is_empty())
        .take(1)
        .any(|word| {
            let letters = word
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .to_ascii_lowercase();
            matches!(
                letters.as_str(),
                "rc" | "alpha" | "beta" | "pre" | "dev" | "snapshot"
            )
        })
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |v: &Self| (v.major, v.minor, v.patch, !v.before_release);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("v1.15.8-eksbuild.1", Some((1, 15, 8, false)))]
    #[case("1.16.0@sha256:aa", Some((1, 16, 0, false)))]
    #[case("5.10.0-rc1-cloud", Some((5, 10, 0, true)))]
    #[case("4.19.91-26.al7.x86_64", Some((4, 19, 91, false)))]
    #[case("6.1.0-18-cloud-amd64", Some((6, 1, 0, false)))]
    #[case("v1.30.4+k3s1", Some((1, 30, 4, false)))]
    #[case("v1.33.5-gke.1080000", Some((1, 33, 5, false)))]
    #[case("1.17.0-pre.2", Some((1, 17, 0, true)))]
    #[case("1.17.0-dev", Some((1, 17, 0, true)))]
    #[case("1.12", Some((1, 12, 0, false)))]
    #[case("v1.12-rc.3", Some((1, 12, 0, true)))]
    #[case(" 1.12.1\n", Some((1, 12, 1, false)))]
    #[case("1.12.1.4", Some((1, 12, 1, false)))]
    #[case("", None)]
    #[case("latest", None)]
    #[case("v1", None)]
    #[case("1.", None)]
    #[case("-1.2.3", None)]
    #[case("1.99999999999", None)]
    #[case("policy-20220610-0439efc", None)]
    #[case("sha256:abcdef", None)]
    fn reads(#[case] text: &str, #[case] expected: Option<(u32, u32, u32, bool)>) {
        let read = Version::parse(text).map(|v| (v.major, v.minor, v.patch, v.before_release));
        assert_eq!(read, expected);
    }

    #[rstest]
    #[case("quay.io/cilium/cilium:v1.15.8@sha256:aa", Some(Version::new(1, 15, 8)))]
    #[case("registry:5000/kube-proxy:v1.31.2", Some(Version::new(1, 31, 2)))]
    #[case("registry:5000/kube-proxy", None)]
    #[case("quay.io/cilium/cilium@sha256:1.2", None)]
    #[case("quay.io/cilium/cilium:latest", None)]
    #[case("", None)]
    fn reads_images(#[case] image: &str, #[case] expected: Option<Version>) {
        assert_eq!(Version::of_image(image), expected);
    }

    #[rstest]
    #[case("v1.15.8-eksbuild.1", "1.15.8")]
    #[case("1.12", "1.12.0")]
    fn shows(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Version::parse(text).unwrap().to_string(), expected);
    }

    #[test]
    fn orders() {
        let order = [
            "1.9.9",
            "1.15.7",
            "1.15.8-rc.1",
            "1.15.8",
            "1.16.0-rc.1",
            "1.16.0",
            "2.0.0",
        ];
        let versions: Vec<_> = order.iter().filter_map(|text| Version::parse(text)).collect();
        assert_eq!(versions.len(), order.len());
        assert!(versions.is_sorted_by(|a, b| a < b));
        assert!(Version::parse("1.16.0-rc.1").unwrap().at_least(1, 16));
        assert!(!Version::new(1, 9, 0).at_least(1, 15));
        assert!(Version::new(2, 0, 0).at_least(1, 15));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}") {
            let _ = (Version::parse(&text), Version::of_image(&text));
        }
    }
}
