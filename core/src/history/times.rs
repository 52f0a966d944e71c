//! The last moments at which something happened.

use crate::know::Mono;

/// The last `N` moments at which something happened, the oldest first.
///
/// Exact where a bucket would be vague by its width, and bounded: of what happens more often than `N` times within a
/// window it is known that it was at least `N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times<const N: usize> {
    at: [Mono; N],
    len: usize,
}

impl<const N: usize> Default for Times<N> {
    fn default() -> Self {
        Self {
            at: [Mono(0); N],
            len: 0,
        }
    }
}

impl<const N: usize> Times<N> {
    /// It happened now; beyond `N` the oldest moment is forgotten.
    pub fn push(&mut self, now: Mono) {
        if self.len == N {
            self.at.rotate_left(1);
        } else {
            self.len += 1;
        }
        if let Some(last) = self.at.get_mut(self.len.wrapping_sub(1)) {
            *last = now;
        }
    }

    /// The moments that are at most so many milliseconds old, the oldest first.
    pub fn within(&self, now: Mono, window: u64) -> impl Iterator<Item = Mono> + '_ {
        self.at
            .iter()
            .take(self.len)
            .copied()
            .filter(move |at| now.since(*at) <= window)
    }

    /// How many of them there are.
    pub fn count(&self, now: Mono, window: u64) -> usize {
        self.within(now, window).count()
    }

    /// When there will be fewer than this many, should it not happen again; `None` when there already are.
    pub fn below(&self, least: usize, now: Mono, window: u64) -> Option<Mono> {
        let spare = self.count(now, window).checked_sub(least)?;
        let at = self.within(now, window).nth(spare)?;
        // The first moment at which it is no longer inside.
        Some(at.plus(window).plus(1))
    }

    /// The last moment.
    pub fn last(&self) -> Option<Mono> {
        self.at.get(self.len.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_inclusive_and_ends_when_said() {
        let mut times = Times::<3>::default();
        assert_eq!((times.count(Mono(5), 10), times.last()), (0, None));
        assert_eq!(times.below(1, Mono(5), 10), None);
        for at in [0, 10, 20, 30] {
            times.push(Mono(at));
        }
        // The first is forgotten.
        assert_eq!(times.count(Mono(30), 100), 3);
        assert_eq!((times.count(Mono(40), 30), times.count(Mono(41), 30)), (3, 2));
        assert_eq!(times.below(3, Mono(40), 30), Some(Mono(41)));
        assert_eq!(times.below(2, Mono(40), 30), Some(Mono(51)));
        assert_eq!(times.last(), Some(Mono(30)));
        // A clock that went back counts as no time at all.
        assert_eq!(times.count(Mono(0), 0), 3);
    }
}
