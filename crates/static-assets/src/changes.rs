//! The differences between two releases: files, rules and settings.

use serde::Serialize;

use crate::manifest::{File, Manifest};

/// The most paths of each list. The counts are exact.
pub const PATHS_MAX: usize = 1000;

/// The changes between two releases, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestChanges<'m> {
    /// The paths that only the later release has: the first [`PATHS_MAX`].
    pub added: Vec<&'m str>,
    /// The paths that only the earlier release has: the first [`PATHS_MAX`].
    pub removed: Vec<&'m str>,
    /// The paths whose bytes, media type or language differ: the first [`PATHS_MAX`].
    pub changed: Vec<&'m str>,
    /// How many files are the same in both.
    pub unchanged: usize,
    /// How many files differ.
    pub counts: ChangeCounts,
    /// Which rules and settings of the site differ, by the names that its author knows.
    pub rules: Vec<&'static str>,
}

/// How many files differ between two releases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChangeCounts {
    /// Only the later release has them.
    pub added: usize,
    /// Only the earlier release has them.
    pub removed: usize,
    /// Both have them, but not the same.
    pub changed: usize,
}

impl<'m> ManifestChanges<'m> {
    /// Compares two manifests, the files of which are sorted by path.
    ///
    /// How the bytes are encoded, and when a file got them, does not count: that differs between
    /// two pushes of one folder, too. Nor does [`File::is_immutable`], or which files are
    /// its translations.
    #[must_use]
    pub fn between(from: &'m Manifest, to: &'m Manifest) -> Self {
        let mut changes = Self { rules: changed_rules(from, to), ..Self::default() };
        let (mut before, mut after) = (from.files.iter().peekable(), to.files.iter().peekable());
        while let Some(path) =
            [before.peek(), after.peek()].into_iter().flatten().copied().map(|file| file.path.as_ref()).min()
        {
            let was = before.next_if(|file| &*file.path == path);
            let is = after.next_if(|file| &*file.path == path);
            let (list, count) = match (was, is) {
                (Some(was), Some(is)) if is_same(was, is) => {
                    changes.unchanged += 1;
                    continue;
                }
                (Some(_), Some(_)) => (&mut changes.changed, &mut changes.counts.changed),
                (Some(_), None) => (&mut changes.removed, &mut changes.counts.removed),
                (None, _) => (&mut changes.added, &mut changes.counts.added),
            };
            *count += 1;
            if list.len() < PATHS_MAX {
                list.push(path);
            }
        }
        changes
    }
}

fn is_same(one: &File, other: &File) -> bool {
    one.body.hash == other.body.hash && one.media_type == other.media_type && one.language == other.language
}

/// Returns the names of the rules and settings that differ.
fn changed_rules(from: &Manifest, to: &Manifest) -> Vec<&'static str> {
    let rules = [
        ("_headers", from.headers != to.headers),
        ("_redirects", from.redirects != to.redirects),
        ("html-handling", from.html_handling != to.html_handling),
        ("not-found", from.not_found != to.not_found),
        ("plain-keys", from.unversioned_keys != to.unversioned_keys),
    ];
    rules.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A release with these files: path and hash.
    fn release(files: &[(String, String)], rules: &str) -> Manifest {
        let file = |(path, hash): &(String, String)| {
            format!(r#"{{"p": "{path}", "b": {{"h": "{hash}", "n": 1}}, "t": "text/plain", "m": 1}}"#)
        };
        let files = files.iter().map(file).collect::<Vec<_>>().join(",");
        Manifest::parse(&format!(r#"{{"version": 1, "id": "r", "createdMs": 1, {rules} "files": [{files}]}}"#)).unwrap()
    }

    fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn files_are_compared_by_path_and_bytes() {
        let from = release(&files(&[("/a", "1"), ("/b", "1"), ("/c", "1")]), "");
        let to = release(&files(&[("/b", "2"), ("/c", "1"), ("/d", "1"), ("/e", "1")]), "");
        let changes = ManifestChanges::between(&from, &to);
        let counts = ChangeCounts { added: 2, removed: 1, changed: 1 };
        assert_eq!(
            (&*changes.added, &*changes.removed, &*changes.changed),
            (&["/d", "/e"][..], &["/a"][..], &["/b"][..])
        );
        assert_eq!((changes.unchanged, changes.counts), (1, counts));
        assert_eq!(ManifestChanges::between(&to, &to).counts, ChangeCounts::default());
    }

    #[test]
    fn rules_and_settings_are_named_if_they_differ() {
        let (from, to) = (release(&[], ""), release(&[], r#""notFound": "none", "plainKeys": false,"#));
        assert_eq!(ManifestChanges::between(&from, &to).rules, ["not-found", "plain-keys"]);
        assert!(ManifestChanges::between(&from, &from).rules.is_empty());
    }

    #[test]
    fn a_list_is_cut_and_its_count_is_exact() {
        let many: Vec<_> = (0..PATHS_MAX + 5).map(|n| (format!("/{n:06}"), "1".to_owned())).collect();
        let (none, all) = (release(&[], ""), release(&many, ""));
        let changes = ManifestChanges::between(&none, &all);
        assert_eq!((changes.added.len(), changes.counts.added), (PATHS_MAX, PATHS_MAX + 5));
        assert_eq!(changes.added.last(), Some(&"/000999"));
        assert_eq!(ManifestChanges::between(&all, &none).counts.removed, PATHS_MAX + 5);
    }

    proptest! {
        #[test]
        fn every_path_is_counted_once_and_the_other_direction_is_the_reverse(
            from in prop::collection::btree_map("/[a-c]{1,2}", "[01]", 0..9),
            to in prop::collection::btree_map("/[a-c]{1,2}", "[01]", 0..9),
        ) {
            let paths: BTreeSet<_> = from.keys().chain(to.keys()).collect();
            let sorted = |files: &std::collections::BTreeMap<String, String>| files.clone().into_iter().collect::<Vec<_>>();
            let (from, to) = (release(&sorted(&from), ""), release(&sorted(&to), ""));
            let (there, back) = (ManifestChanges::between(&from, &to), ManifestChanges::between(&to, &from));
            let counts = there.counts;
            prop_assert_eq!(counts.added + counts.removed + counts.changed + there.unchanged, paths.len());
            prop_assert_eq!((&there.added, &there.removed, &there.changed), (&back.removed, &back.added, &back.changed));
        }
    }
}
