//! Numbers that look random and are the same in each run.

/// A sequence of numbers in (0, 1): the generator of Knuth's MMIX.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// The next of them.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // 32 bits fit into an f64 exactly.
        let [.., a, b, c, d] = (self.0 >> 32).to_be_bytes();
        (f64::from(u32::from_be_bytes([a, b, c, d])) + 0.5) / 4_294_967_296.0
    }

    /// So many placements by these shares.
    pub(crate) fn place(&mut self, placements: u32, shares: &[f64]) -> Vec<f64> {
        let total: f64 = shares.iter().sum();
        let mut counts = vec![0.0; shares.len()];
        for _ in 0..placements {
            let mut left = self.next() * total;
            let at = shares.iter().position(|share| {
                left -= share;
                left < 0.0
            });
            counts[at.unwrap_or(shares.len() - 1)] += 1.0;
        }
        counts
    }
}
