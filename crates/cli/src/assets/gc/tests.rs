use proptest::prelude::*;
use serde_json::json;
use static_assets::release::ManifestMetadata;

use super::*;
use crate::api::MetadataJson;

const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 100 * HOUR_MS;

/// Returns a release that was pushed some hours ago, or at an unknown time.
fn release(id: &str, hours: Option<u64>) -> Release {
    let metadata = hours.map(|hours| ManifestMetadata { created_ms: NOW_MS - hours * HOUR_MS, files: 1, bytes: 1 });
    Release { id: id.to_owned(), metadata }
}

fn blob(hash: &str, uploaded_ms: Option<u64>) -> NamespaceKey {
    let metadata = uploaded_ms.map(|uploaded_ms| MetadataJson::of(&json!({ "uploadedMs": uploaded_ms })));
    NamespaceKey { name: format!("{BLOBS}{hash}"), metadata, expiration: None }
}

#[test]
fn the_newest_the_served_and_the_young_releases_are_kept() {
    let all = [
        release("e", Some(0)),
        release("d", Some(2)),
        release("c", Some(3)),
        release("b", Some(4)),
        release("a", None),
    ];
    // `a` was pushed at an unknown time, so it is always kept.
    for (current, previous, keep, min_age_ms, kept) in [
        ("e", "", 5, HOUR_MS, "edcba"),
        ("e", "", 9, HOUR_MS, "edcba"),
        ("e", "", 2, HOUR_MS, "eda"),
        ("e", "", 1, 0, "ea"),
        ("e", "", 0, 0, "ea"),
        // After a rollback the newest release is not the one that is served.
        ("b", "", 1, 0, "ba"),
        ("b", "", 2, 0, "eba"),
        ("b", "", 0, 3 * HOUR_MS, "edba"),
        // Releases that were served come before newer ones; an id without a release is ignored.
        ("c", "b", 2, 0, "cba"),
        ("c", "be", 3, 0, "ecba"),
        ("c", "xb", 2, 0, "cba"),
        ("c", "b", 1, 0, "ca"),
        // A current release without a manifest is kept, so that reading it stops the command.
        ("gone", "", 1, 0, "a gone"),
    ] {
        let previous = previous.chars().map(String::from).collect();
        let pointer = Pointer { previous, ..Pointer::switched(None, current, 3, 1) };
        let releases = select_releases(Some(&pointer), &all, keep, NOW_MS, min_age_ms).unwrap();
        assert_eq!(
            releases.kept.concat(),
            kept.replace(' ', ""),
            "{current} {:?} {keep} {min_age_ms}",
            pointer.previous
        );
        let others = all.iter().filter(|release| !releases.kept.contains(&release.id));
        assert_eq!(releases.deletable, others.map(|release| release.id.clone()).collect::<Vec<_>>());
    }
}

#[test]
fn without_a_pointer_no_release_is_deleted() {
    assert_eq!(select_releases(None, &[], 5, NOW_MS, 0).unwrap(), ReleaseSelection { kept: vec![], deletable: vec![] });
    let sentence = select_releases(None, &[release("a", None)], 5, NOW_MS, 0).unwrap_err().to_string();
    assert!(sentence.starts_with("there are releases, such as a, but none of them is served"), "{sentence}");
}

#[test]
fn blobs_are_deleted_if_no_release_reaches_them_and_they_are_old() {
    let reachable = HashSet::from(["needed".to_owned()]);
    let old = Some(NOW_MS - HOUR_MS);
    let listed = vec![
        blob("needed", old),
        blob("needed no more", old),
        blob("young", Some(NOW_MS - HOUR_MS + 1)),
        blob("from the future", Some(NOW_MS + 1)),
        blob("of unknown age", None),
        NamespaceKey { name: format!("{BLOBS}odd"), metadata: Some(MetadataJson::of(&"odd")), expiration: None },
        // Keys of other kinds are never deleted.
        NamespaceKey { name: "index.html".to_owned(), ..blob("", Some(0)) },
    ];
    let blobs = select_blobs(listed, &reachable, NOW_MS, HOUR_MS);
    assert_eq!(blobs, BlobSelection { deletable: vec![format!("{BLOBS}needed no more")], needed: 2, young: 4 });
}

#[test]
fn a_release_reaches_all_its_encodings_and_chunks() {
    let manifest: Manifest = serde_json::from_value(json!({
        "version": 1, "id": "r", "createdMs": 1, "files": [
            {"p": "/a.html", "b": {"h": "h1", "n": 3}, "t": "text/html", "m": 1, "e": [{"c": "br", "b": {"h": "h2", "n": 2}}]},
            {"p": "/b.mp4", "b": {"h": "whole", "n": 9, "c": [{"h": "c1", "n": 8}, {"h": "c2", "n": 1}]}, "t": "video/mp4", "m": 1},
        ]
    }))
    .unwrap();
    let mut reachable = HashSet::new();
    add_reachable(&mut reachable, &manifest);
    let mut reachable: Vec<_> = reachable.into_iter().collect();
    reachable.sort();
    assert_eq!(reachable, ["c1", "c2", "h1", "h2"]);
}

#[test]
fn an_unreadable_manifest_is_explained() {
    let sentence = GcError::Manifest(ReleaseError::NotFound("r".to_owned())).to_string();
    assert!(sentence.starts_with("the manifest of the release r does not exist. Nothing was deleted"), "{sentence}");
}

proptest! {
    #[test]
    fn the_current_release_and_what_is_reachable_or_young_is_never_deleted(
        ages in proptest::collection::vec(proptest::option::of(0_u64..100), 1..9),
        current in 0_usize..9,
        previous in proptest::collection::hash_set(0_usize..9, 0..5),
        keep in 0_usize..12,
        min_age in 0_u64..100,
        blobs in proptest::collection::vec((0_u8..20, proptest::option::of(0_u64..100)), 0..30),
        reachable in proptest::collection::hash_set(0_u8..20, 0..20),
    ) {
        let all: Vec<_> = ages.iter().enumerate().rev().map(|(at, hours)| release(&at.to_string(), *hours)).collect();
        let previous = previous.iter().map(usize::to_string).filter(|id| *id != current.to_string()).collect();
        let pointer = Pointer { previous, ..Pointer::switched(None, &current.to_string(), 3, 1) };
        let releases = select_releases(Some(&pointer), &all, keep, NOW_MS, min_age * HOUR_MS).unwrap();
        prop_assert!(releases.kept.contains(&pointer.current));
        prop_assert!(releases.kept.len() >= keep.min(all.len()));
        let mut before = pointer.previous.iter().filter(|id| all.iter().any(|release| release.id == **id));
        prop_assert!(before.by_ref().take(keep.saturating_sub(1)).all(|id| releases.kept.contains(id)));
        for id in &releases.deletable {
            let hours = ages[id.parse::<usize>().unwrap()];
            prop_assert!(hours.is_some_and(|hours| hours >= min_age));
        }

        let reachable: HashSet<_> = reachable.iter().map(u8::to_string).collect();
        let uploaded_ms = |hours: &Option<u64>| hours.map(|hours| NOW_MS - hours * HOUR_MS);
        let listed: Vec<_> = blobs.iter().map(|(hash, hours)| blob(&hash.to_string(), uploaded_ms(hours))).collect();
        let selection = select_blobs(listed.clone(), &reachable, NOW_MS, min_age * HOUR_MS);
        prop_assert_eq!(selection.deletable.len() + selection.needed + selection.young, listed.len());
        for name in &selection.deletable {
            prop_assert!(!reachable.contains(name.strip_prefix(BLOBS).unwrap()));
            // The generated lists may have a key twice, which no real list does: one old entry is
            // enough.
            let old = blobs.iter().any(|(hash, hours)| {
                *name == format!("{BLOBS}{hash}") && hours.is_some_and(|hours| hours >= min_age)
            });
            prop_assert!(old);
        }
    }
}
