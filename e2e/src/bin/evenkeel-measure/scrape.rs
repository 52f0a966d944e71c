//! What a scrape of the operator says.

/// The text of a scrape.
pub(super) struct Scrape(pub(super) String);

impl Scrape {
    /// The sum of all series of a name.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Upper bounds and cumulative counts of a histogram.
    pub(super) fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let start = format!("{name}_bucket{{le=\"");
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(&start));
        lines
            .filter_map(|line| {
                let (bound, count) = line.split_once("\"} ")?;
                Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
            })
            .collect()
    }
}

/// The bucket in which a quantile of what came between two scrapes lies.
pub(super) fn quantile(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> f64 {
    let counts: Vec<(f64, f64)> = after
        .iter()
        .enumerate()
        .map(|(at, (bound, count))| (*bound, count - before.get(at).map_or(0.0, |one| one.1)))
        .collect();
    let all = counts.last().map_or(0.0, |one| one.1);
    counts
        .iter()
        .find(|one| one.1 >= all * share)
        .map_or(f64::INFINITY, |one| one.0)
}
