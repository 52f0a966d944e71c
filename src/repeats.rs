//! Which repetitions of a warning are logged. What goes wrong every second is written down less and less often, with how
//! many times it has come: a log that says one thing 3,600 times an hour hides everything else.

/// Most repetitions between two lines of the log: about every four minutes where it comes every second.
const MOST: u32 = 256;

/// The last warning of one place, and how many times it has come in a row.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    last: String,
    times: u32,
}

impl Repeats {
    /// How many times this has come in a row, where it is to be logged: the first, second, fourth and so on.
    pub(crate) fn due(&mut self, warning: &str) -> Option<u32> {
        if self.last != warning {
            warning.clone_into(&mut self.last);
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        let due = self.times.is_power_of_two() && self.times <= MOST || self.times.is_multiple_of(MOST);
        due.then_some(self.times)
    }

    /// It went well: the next warning is a first one.
    pub(crate) fn end(&mut self) {
        self.times = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_logged_less_and_less_often() {
        let mut repeats = Repeats::default();
        let logged: Vec<u32> = (0..800).filter_map(|_| repeats.due("refused")).collect();
        assert_eq!(logged, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768]);
    }

    #[test]
    fn another_warning_and_one_after_success_are_first_ones() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.due("refused"), Some(1));
        assert_eq!(repeats.due("late"), Some(1));
        repeats.end();
        assert_eq!(repeats.due("late"), Some(1));
        assert_eq!(repeats.due("late"), Some(2));
        assert_eq!(repeats.due("late"), None);
    }
}
