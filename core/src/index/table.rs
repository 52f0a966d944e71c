//! One typed table per kind of row.

use std::collections::HashMap;

use crate::names::Key;

/// Rows of one kind by key, with the epoch in which each was last named.
///
/// A relist needs no second copy: [`Table::begin`] opens an epoch, and [`Table::sweep`] removes what it did not name.
#[derive(Debug)]
pub struct Table<R> {
    rows: HashMap<Key, (R, u32)>,
    epoch: u32,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            epoch: 0,
        }
    }
}

impl<R: PartialEq> Table<R> {
    /// Opens an epoch: the start of a list.
    pub fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Stores a row and returns what it replaced: `None` when nothing changed, else the old row, if there was one.
    ///
    /// An equal row changes nothing: this is what heartbeats and our own echoes stop at.
    pub fn put(&mut self, key: Key, row: R) -> Option<Option<R>> {
        match self.rows.get_mut(&key) {
            Some(held) if held.0 == row => {
                held.1 = self.epoch;
                None
            }
            Some(held) => Some(Some(std::mem::replace(held, (row, self.epoch)).0)),
            None => {
                self.rows.insert(key, (row, self.epoch));
                Some(None)
            }
        }
    }

    /// Removes a row.
    pub fn remove(&mut self, key: Key) -> Option<R> {
        self.rows.remove(&key).map(|held| held.0)
    }

    /// Removes and returns what the present epoch has not named.
    pub fn sweep(&mut self) -> Vec<(Key, R)> {
        let epoch = self.epoch;
        let gone: Vec<Key> = self
            .rows
            .iter()
            .filter(|(_, held)| held.1 != epoch)
            .map(|(key, _)| *key)
            .collect();
        gone.into_iter()
            .filter_map(|key| Some((key, self.remove(key)?)))
            .collect()
    }
}

/// Which rows are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// That of a key.
    One(Key),
    /// Those that the present epoch has not named.
    Unnamed,
}

impl<R: PartialEq> Table<R> {
    /// Removes and returns rows.
    pub(crate) fn take(&mut self, which: Which) -> Vec<(Key, R)> {
        match which {
            Which::One(key) => self.remove(key).map(|row| (key, row)).into_iter().collect(),
            Which::Unnamed => self.sweep(),
        }
    }
}

impl<R> Table<R> {
    /// The row of a key.
    pub fn get(&self, key: Key) -> Option<&R> {
        self.rows.get(&key).map(|held| &held.0)
    }

    /// Every row, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &R)> {
        self.rows.iter().map(|(key, held)| (*key, &held.0))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;

    #[test]
    fn a_relist_keeps_what_it_names_and_sweeps_the_rest() {
        let mut names = Names::default();
        let mut key = |name: &str| Key {
            name: names.intern(name),
            ..Key::default()
        };
        let (a, b) = (key("a"), key("b"));
        let mut table = Table::default();
        assert_eq!(table.put(a, 1), Some(None));
        assert_eq!(table.put(b, 2), Some(None));
        table.begin();
        assert_eq!(table.put(a, 1), None);
        assert_eq!(table.sweep(), [(b, 2)]);
        assert_eq!(table.put(a, 3), Some(Some(1)));
        assert_eq!(table.len(), 1);
    }
}
