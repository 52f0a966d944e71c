//! What somebody may have meant who has typed a name that does not exist.

/// How alike two names are at least, from 0 to 1, for one to be offered for the other: the bound of `clap`, which offers flags
/// and values (`clap_builder`, `src/parser/features/suggestions.rs`).
const ALIKE: f64 = 0.7;

/// The known name that is most like this one, if any is.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|name| (strsim::jaro(word, name), name));
    let alike = scored.filter(|one| one.0 > ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|one| one.1)
}

/// `; did you mean NAME?`, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("shopp", "; did you mean shop?")]
    #[case("sohp", "; did you mean shop?")]
    #[case("kube-sytem", "; did you mean kube-system?")]
    #[case("database", "")]
    #[case("", "")]
    fn names_that_are_alike_are_offered(#[case] word: &str, #[case] expected: &str) {
        assert_eq!(did_you_mean(word, ["kube-system", "shop"]), expected);
    }
}
