//! Values by name: a sorted list.
//!
//! For the thousand entries that an isolate remembers it is as fast as a tree, and the WebAssembly of it a tenth of the tree's, which is made
//! anew for each type of value.

use std::rc::Rc;

/// Values, each under a name of its own, in the order of their names.
#[derive(Debug, Clone)]
pub struct ByName<V>(Vec<(Rc<str>, V)>);

impl<V> ByName<V> {
    /// Holds nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        let at = self.find(name).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The value of a name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        let at = self.find(name).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// Puts a value under a name, instead of the one that is there.
    pub fn insert(&mut self, name: Rc<str>, value: V) {
        match self.find(&name) {
            Ok(at) => {
                if let Some(entry) = self.0.get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        let at = self.find(name).ok()?;
        Some(self.0.remove(at).1)
    }

    /// All names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&Rc<str>, &V)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Where a name stands, or where it would.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

impl<V> Default for ByName<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in prop::collection::vec((0..3_u8, "[ab]{0,2}", 0..9_u8), 0..40)) {
            let mut values = ByName::new();
            let mut map = BTreeMap::new();
            for (what, name, value) in steps {
                match what {
                    0 => prop_assert_eq!(values.remove(&name), map.remove(&name)),
                    1 => if let (Some(ours), Some(theirs)) = (values.get_mut(&name), map.get_mut(&name)) {
                        (*ours, *theirs) = (value, value);
                    },
                    _ => {
                        values.insert(name.as_str().into(), value);
                        map.insert(name.clone(), value);
                    }
                }
                prop_assert_eq!(values.get(&name), map.get(&name));
                prop_assert!(values.iter().map(|(name, value)| (&**name, value)).eq(map.iter().map(|(name, value)| (name.as_str(), value))));
                prop_assert_eq!((values.len(), values.is_empty()), (map.len(), map.is_empty()));
            }
        }
    }
}
