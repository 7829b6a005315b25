//! What `import` and `copy` do with keys that exist already.

use super::KvError;
use super::key_set::KeySet;
use crate::api::Namespace;
use crate::progress::{Progress, Unit};

/// The most keys that an error names.
const NAMES_MAX: usize = 10;
/// The most keys that are looked up one by one; for more of them the namespace is listed.
const LOOKUPS_MAX: usize = 20;

/// The options for keys that exist.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
pub(super) struct ExistingKeysArguments {
    /// Write nothing if one of the keys exists (the default)
    #[arg(long)]
    fail: bool,

    /// Keep the values of keys that exist
    #[arg(long)]
    skip: bool,

    /// Replace the values of keys that exist
    #[arg(long)]
    overwrite: bool,
}

/// What happens to keys that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum OnExisting {
    Fail,
    Skip,
    Overwrite,
}

impl ExistingKeysArguments {
    pub(super) fn choice(self) -> OnExisting {
        match self {
            Self { skip: true, .. } => OnExisting::Skip,
            Self { overwrite: true, .. } => OnExisting::Overwrite,
            _ => OnExisting::Fail,
        }
    }
}

/// The keys that are to be written.
#[derive(Debug, Default)]
pub(super) struct KeysToWrite {
    keys: KeySet,
    /// What all of them begin with; `None` if there are none.
    prefix: Option<String>,
    /// The first that were added: one more than are looked up one by one, if there are that many.
    first: Vec<String>,
}

/// The keys to write that exist.
#[derive(Debug, Default)]
pub(super) struct ExistingKeys {
    keys: KeySet,
    /// The first of them.
    names: Vec<String>,
}

impl KeysToWrite {
    /// Adds a key. Returns false if it was added before.
    pub(super) fn insert(&mut self, key: &str) -> bool {
        match &mut self.prefix {
            None => self.prefix = Some(key.to_owned()),
            Some(prefix) => {
                let same = prefix.chars().zip(key.chars()).take_while(|(a, b)| a == b);
                let bytes = same.map(|(character, _)| character.len_utf8()).sum();
                prefix.truncate(bytes);
            }
        }
        if self.first.len() <= LOOKUPS_MAX {
            self.first.push(key.to_owned());
        }
        self.keys.insert(key)
    }

    pub(super) fn len(&self) -> u64 {
        self.keys.len()
    }

    /// Returns those that exist.
    pub(super) fn existing(&self, namespace: &Namespace, progress: &Progress) -> Result<ExistingKeys, KvError> {
        let Some(prefix) = &self.prefix else { return Ok(ExistingKeys::default()) };
        let phase = progress.phase("looking for existing keys", 0, Unit::Keys);
        let mut existing = ExistingKeys::default();
        if self.first.len() <= LOOKUPS_MAX {
            for key in &self.first {
                if namespace.find(key)?.is_some() {
                    existing.insert(key);
                }
                phase.add(1);
            }
        } else {
            for page in namespace.key_pages(prefix) {
                let page = page?;
                phase.add(page.len() as u64);
                for key in page.iter().filter(|key| self.keys.contains(&key.name)) {
                    existing.insert(&key.name);
                }
            }
        }
        phase.done(&format!("{}", existing.len()));
        Ok(existing)
    }
}

impl ExistingKeys {
    pub(super) fn insert(&mut self, key: &str) {
        if self.keys.insert(key) && self.names.len() < NAMES_MAX {
            self.names.push(key.to_owned());
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn len(&self) -> u64 {
        self.keys.len()
    }

    /// Returns the error that names the keys, if there are any. `can_resume` is true if an
    /// interrupted run may have written them.
    pub(super) fn check_empty(&self, can_resume: bool) -> Result<(), KvError> {
        let more = self.len() - self.names.len() as u64;
        if self.len() == 0 { Ok(()) } else { Err(KvError::Exists { names: self.names.clone(), more, can_resume }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_to_list_is_what_all_keys_begin_with() {
        for (keys, expected) in [
            (&[][..], None),
            (&["a/b"], Some("a/b")),
            (&["a/b", "a/c", "a/"], Some("a/")),
            (&["a", "b"], Some("")),
            // These begin with the same byte.
            (&["é", "è"], Some("")),
        ] {
            let mut to_write = KeysToWrite::default();
            for key in keys {
                assert!(to_write.insert(key));
            }
            assert_eq!(to_write.prefix.as_deref(), expected, "{keys:?}");
        }
    }
}
