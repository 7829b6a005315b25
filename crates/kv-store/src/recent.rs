//! Values by key that know which of them was not used for the longest time.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::by_name::ByName;

/// Values by key, and the order in which they were last inserted or touched.
#[derive(Debug)]
pub struct Recent<V> {
    values: ByName<(u64, V)>,
    order: BTreeMap<u64, Rc<str>>,
    uses: u64,
}

impl<V> Recent<V> {
    /// Holds nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { values: ByName::new(), order: BTreeMap::new(), uses: 0 }
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a key; looking is no use.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.values.iter().map(|(_, (_, value))| value)
    }

    /// Inserts a value, as the one used last.
    pub fn insert(&mut self, key: &str, value: V) {
        self.remove(key);
        self.uses = self.uses.saturating_add(1);
        let key: Rc<str> = key.into();
        self.order.insert(self.uses, Rc::clone(&key));
        self.values.insert(key, (self.uses, value));
    }

    /// Notes a use of a key.
    pub fn touch(&mut self, key: &str) {
        let Some((used, _)) = self.values.get_mut(key) else { return };
        let Some(key) = self.order.remove(used) else { return };
        self.uses = self.uses.saturating_add(1);
        *used = self.uses;
        self.order.insert(self.uses, key);
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let (used, value) = self.values.remove(key)?;
        self.order.remove(&used);
        Some(value)
    }

    /// The one that was not used for the longest time.
    #[must_use]
    pub fn oldest(&self) -> Option<(&Rc<str>, &V)> {
        let (_, key) = self.order.first_key_value()?;
        Some((key, self.get(key)?))
    }

    /// Forgets that one.
    pub fn remove_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.values.remove(&key);
        }
    }

    /// Forgets the oldest until no more than `max` are left.
    pub fn bound(&mut self, max: usize) {
        while self.len() > max {
            self.remove_oldest();
        }
    }
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_last_use(steps in prop::collection::vec((0..4_u8, 0..9_u8), 0..60)) {
            let mut recent: Recent<u8> = Recent::new();
            let mut naive: Vec<u8> = Vec::new();
            for (what, key) in steps {
                let name = format!("{key}");
                let is_known = naive.contains(&key);
                match what {
                    0 => recent.insert(&name, key),
                    1 => recent.touch(&name),
                    2 => prop_assert_eq!(recent.remove(&name), is_known.then_some(key)),
                    _ => recent.bound(3),
                }
                if what == 3 {
                    naive.drain(..naive.len().saturating_sub(3));
                } else {
                    naive.retain(|known| *known != key);
                    if what == 0 || (what == 1 && is_known) {
                        naive.push(key);
                    }
                }
                let order: Vec<u8> = recent.order.values().map(|key| *recent.get(key).unwrap()).collect();
                prop_assert_eq!(&order, &naive);
                prop_assert_eq!(recent.oldest().map(|(_, key)| *key), naive.first().copied());
                prop_assert_eq!((recent.len(), recent.order.len()), (naive.len(), naive.len()));
            }
        }
    }
}
