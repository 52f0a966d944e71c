//! The labels of a series.

use std::borrow::Cow;

/// Labels by name, in the order of the page; a name is there once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesLabels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> SeriesLabels<'a> {
    /// Adds a label; false where the name is there already.
    pub(crate) fn add(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) -> bool {
        let new = self.find(&name).is_none();
        if new {
            self.0.push((name, value));
        }
        new
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The value of a label. One that is absent and one that is empty are the same to Prometheus, and so they are here.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).filter(|value| !value.is_empty())
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|label| label.0 == name).map(|label| &*label.1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}
