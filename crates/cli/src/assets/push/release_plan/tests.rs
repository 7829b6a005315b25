use std::fs;

use ignore::gitignore::GitignoreBuilder;
use static_assets::release::WHOLE_BYTES_MAX;

use super::*;
use crate::assets::push::digest::RELEASE_SIZES;
use crate::assets::push::source_file;
use crate::assets::push::spool::Spool;
use crate::assets::push::walk;

fn settings() -> ReleaseSettings {
    let mut immutable = GitignoreBuilder::new("");
    immutable.add_line(None, "/static/**").unwrap().add_line(None, "*.woff2").unwrap();
    ReleaseSettings {
        html_handling: HtmlHandling::default(),
        not_found: NotFoundHandling::default(),
        unversioned_keys: true,
        redirects: RedirectRules::default(),
        headers: HeaderRules::default(),
        immutable: immutable.build().unwrap(),
        language: Some("en".to_owned()),
    }
}

/// What a push would store: the manifest, and the values of its files.
struct PlannedPush {
    manifest: Manifest,
    blobs: Vec<Blob>,
}

fn plan_push(files: &[(&str, String)], current: Option<&CurrentRelease>, in_kv: &[Blob], now_ms: u64) -> PlannedPush {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let sources = walk::walk(folder.path()).unwrap();
    let hashed: Vec<HashedFile> = sources.iter().map(|source| source_file::hash_file(source).unwrap()).collect();
    let spool = Spool::new(RELEASE_SIZES).unwrap();
    let in_kv: HashSet<String> = in_kv.iter().map(|blob| blob.hash.clone().into()).collect();
    let reusable = reusable_encodings(current.and_then(|current| current.manifest.as_ref()), &in_kv);
    let compressible = |(source, _): &(&SourceFile, &HashedFile)| is_compressible(&media_type_of(&source.path));
    let encodings = sources.iter().zip(&hashed).filter(compressible).map(|(source, hashed)| {
        let encodings = reusable.get(hashed.body.hash.as_ref()).map_or_else(
            || FileEncodings::New(source_file::encode(source, &hashed.body, &spool).unwrap()),
            |reusable| FileEncodings::InKv(reusable.to_vec()),
        );
        (hashed.body.hash.clone(), encodings)
    });
    let encodings = encodings.collect();
    let mut manifest = manifest(&settings(), &sources, &hashed, &encodings, current, now_ms).unwrap();
    manifest.id = id(now_ms, &content_hash(&manifest));
    let blobs = blobs(&manifest, &encodings);
    PlannedPush { manifest, blobs }
}

fn current_release(manifest: &Manifest, rolled_back_ms: Option<u64>) -> CurrentRelease {
    let pointer = Pointer { rolled_back_ms, ..Pointer::switched(None, &manifest.id, 3, manifest.created_ms) };
    CurrentRelease { pointer, manifest: Some(manifest.clone()) }
}

fn page(of: &str) -> String {
    format!("<!doctype html><title>{of}</title>{}", "<p>Guten Tag</p>".repeat(100))
}

#[test]
fn the_same_folder_gives_the_same_content_hash_and_values_at_any_time() {
    let files = [("index.html", page("a")), ("static/a.txt", "a".to_owned()), ("b.woff2", "b".to_owned())];
    let first = plan_push(&files, None, &[], 1_000_000);
    let later = plan_push(&files, None, &[], 9_000_000);
    assert_eq!(content_hash(&first.manifest), content_hash(&later.manifest));
    assert_eq!(first.blobs, later.blobs);
    // The manifest is the same if encodings of the current release are reused.
    let again = plan_push(&files, Some(&current_release(&first.manifest, None)), &first.blobs, 9_000_000);
    assert_eq!(content_hash(&first.manifest), content_hash(&again.manifest));
    assert_eq!(first.manifest.files, again.manifest.files);
    let other = plan_push(&[("index.html", page("b"))], None, &[], 1_000_000);
    assert_ne!(content_hash(&first.manifest), content_hash(&other.manifest));
    let parsed: Manifest = serde_json::from_slice(&json(&first.manifest)).unwrap();
    assert_eq!(parsed, first.manifest);
}

#[test]
fn a_file_was_modified_when_its_path_got_its_bytes_or_at_a_later_rollback() {
    let before = plan_push(&[("a.txt", "a".to_owned()), ("b.txt", "b".to_owned())], None, &[], 100_000);
    let files = [("a.txt", "a".to_owned()), ("b.txt", "B".to_owned()), ("c.txt", "b".to_owned())];
    for (rolled_back_ms, expected) in [
        (None, [("/a.txt", 100), ("/b.txt", 300), ("/c.txt", 300)]),
        // No file counts as older than a rollback: visitors may have the bytes of the release that
        // the rollback replaced.
        (Some(200_000), [("/a.txt", 200), ("/b.txt", 300), ("/c.txt", 300)]),
    ] {
        let now = plan_push(&files, Some(&current_release(&before.manifest, rolled_back_ms)), &[], 300_000);
        let found: Vec<(&str, u64)> =
            now.manifest.files.iter().map(|file| (file.path.as_ref(), file.modified_seconds)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn encodings_in_kv_are_reused() {
    let files = [("a.html", page("a")), ("b.html", page("b"))];
    let first = plan_push(&files, None, &[], 1);
    assert!(first.blobs.iter().all(|blob| blob.location != BlobLocation::Kv));
    let current = current_release(&first.manifest, None);
    // A file with another path reuses them, too.
    let moved = [("c.html", page("a")), ("b.html", page("b"))];
    let second = plan_push(&moved, Some(&current), &first.blobs, 2);
    assert!(
        second.blobs.iter().all(|blob| (blob.location == BlobLocation::Kv) == blob.coding.is_some()),
        "{:?}",
        second.blobs
    );
    let hashes = |pushed: &PlannedPush| pushed.blobs.iter().map(|blob| blob.hash.clone()).collect::<HashSet<_>>();
    assert_eq!(hashes(&first), hashes(&second));
    // If one encoded value is gone, all encodings of that file are made again, with the same
    // result.
    let of_a = first.blobs.iter().position(|blob| blob.file == 0 && blob.coding.is_some()).unwrap();
    let in_kv: Vec<Blob> =
        first.blobs.iter().enumerate().filter(|(at, _)| *at != of_a).map(|(_, blob)| blob.clone()).collect();
    let third = plan_push(&files, Some(&current), &in_kv, 3);
    assert_eq!(hashes(&first), hashes(&third));
    for blob in third.blobs.iter().filter(|blob| blob.coding.is_some()) {
        assert_eq!(blob.location == BlobLocation::Kv, blob.file == 1, "{blob:?}");
    }
}

#[test]
fn the_plan_has_each_value_once_with_the_location_of_its_bytes() {
    let long = "0123456789abcdefghijklmnopq".repeat(1_000_000);
    assert!(long.len() as u64 > WHOLE_BYTES_MAX);
    let pushed = plan_push(&[("a.bin", long.clone()), ("b.html", page("c")), ("c.html", page("c"))], None, &[], 1);
    let of = |file, coding: Option<ContentCoding>| {
        pushed.blobs.iter().filter(move |blob| blob.file == file && blob.coding == coding).collect::<Vec<_>>()
    };
    let chunks = of(0, None);
    assert_eq!(chunks.len(), long.len().div_ceil(CHUNK_BYTES));
    for (at, (chunk, bytes)) in chunks.iter().zip(long.as_bytes().chunks(CHUNK_BYTES)).enumerate() {
        assert_eq!((chunk.hash.as_ref(), chunk.length), (content_hash::hash(bytes).as_str(), bytes.len() as u64));
        assert_eq!(chunk.location, BlobLocation::File((at * CHUNK_BYTES) as u64));
    }
    assert!(of(2, None).is_empty());
    assert_eq!(of(1, None)[0].location, BlobLocation::File(0));
    assert!(
        matches!(&of(1, Some(ContentCoding::Br))[0].location, BlobLocation::Spool(segments) if segments.len() == 1)
    );
}

#[test]
fn a_file_is_immutable_by_its_name_or_by_an_option() {
    let files = ["a.txt", "static/deep/a.txt", "fonts/a.woff2", "app.3f2a1b9c.js"].map(|path| (path, "a".to_owned()));
    let found: Vec<String> = plan_push(&files, None, &[], 1)
        .manifest
        .files
        .iter()
        .filter(|file| file.is_immutable)
        .map(|file| file.path.to_string())
        .collect();
    assert_eq!(found, ["/app.3f2a1b9c.js", "/fonts/a.woff2", "/static/deep/a.txt"]);
}

#[test]
fn a_release_is_named_after_its_time_and_content() {
    for (now_ms, expected) in [
        (0, "19700101T000000Z-01234567"),
        (951_782_399_999, "20000228T235959Z-01234567"),
        (951_782_400_000, "20000229T000000Z-01234567"),
        (1_709_164_800_000, "20240229T000000Z-01234567"),
        (1_795_261_475_000, "20261121T114435Z-01234567"),
        (4_107_542_400_000, "21000301T000000Z-01234567"),
        (253_402_300_799_000, "99991231T235959Z-01234567"),
    ] {
        assert_eq!(id(now_ms, "0123456789abcdef"), expected);
    }
}

#[test]
fn a_manifest_that_is_too_long_says_what_to_do() {
    let manifest = plan_push(&[("a.txt", String::new())], None, &[], 1).manifest;
    let longest = usize::try_from(VALUE_BYTES_MAX).unwrap();
    assert_eq!(check_length(&manifest, longest), Ok(()));
    assert!(check_length(&manifest, longest + 1).unwrap_err().to_string().contains(".assetsignore"));
}
