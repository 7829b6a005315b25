use std::fs;
use std::path::Path;

use http_semantics::content_hash::hash;

use super::*;
use crate::assets::push::digest::ChunkSizes;

fn source(folder: &Path, bytes: &[u8]) -> SourceFile {
    let file = folder.join("file.html");
    fs::write(&file, bytes).unwrap();
    SourceFile { path: "/file.html".to_owned(), file, length: bytes.len() as u64 }
}

#[test]
fn a_file_is_hashed_and_its_language_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("<html lang=de>{}", "x".repeat(3 * BUFFER_BYTES));
    for (bytes, language) in [("", None), ("<html lang=\"en\">", Some("en")), (&long, Some("de"))] {
        let hashed = hash_file(&source(folder.path(), bytes.as_bytes())).unwrap();
        assert_eq!(
            hashed.body,
            FileBody { hash: hash(bytes.as_bytes()).into(), length: bytes.len() as u64, chunks: Vec::new() }
        );
        assert_eq!(hashed.language.as_deref(), language);
    }
}

#[test]
fn encodings_that_save_less_than_a_tenth_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(RELEASE_SIZES).unwrap();
    let text = "<p>Grüße aus Köln</p>\n".repeat(500).into_bytes();
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(100_000)
    .collect();
    for (bytes, count) in [(text.as_slice(), 3), (&noise, 0), (b"", 0), (b"abc", 0)] {
        let source = source(folder.path(), bytes);
        let hashed = hash_file(&source).unwrap();
        let encoded_files = encode(&source, &hashed.body, &spool).unwrap();
        assert_eq!(encoded_files.len(), count, "{} bytes", bytes.len());
        for (at, EncodedFile { encoded, segments }) in encoded_files.iter().enumerate() {
            let stored = spool.read(segments).unwrap();
            assert_eq!(
                (hash(&stored).as_str(), stored.len() as u64),
                (encoded.body.hash.as_ref(), encoded.body.length)
            );
            assert!(encoded.body.length <= compress::length_max(hashed.body.length));
            assert!(at == 0 || encoded_files[at - 1].encoded.body.length <= encoded.body.length);
        }
        let codings: Vec<ContentCoding> =
            encoded_files.iter().map(|encoded_file| encoded_file.encoded.coding).collect();
        assert!(count == 0 || CODINGS.iter().all(|coding| codings.contains(coding)), "{codings:?}");
    }
}

#[test]
fn a_file_whose_hashed_bytes_change_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(RELEASE_SIZES).unwrap();
    let before = "abcdefgh".repeat(1000);
    for after in ["abcdefgx".repeat(1000), "abcdefgh".repeat(999), "abcdefgh".repeat(1001), String::new()] {
        let source = source(folder.path(), before.as_bytes());
        let hashed = hash_file(&source).unwrap();
        fs::write(&source.file, &after).unwrap();
        // If bytes were only added after the hashing, what is pushed is still what was hashed.
        // Only `hash_file`, which compares the length with that of the walk, fails.
        let is_longer = after.len() > before.len();
        assert_eq!(hash_file(&source).is_err(), after.len() != before.len());
        assert_eq!(encode(&source, &hashed.body, &spool).is_err(), !is_longer, "{}", after.len());
        let fault = part(&source, 0, hashed.body.length, &hashed.body.hash);
        assert_eq!(fault.is_err(), !is_longer, "{}", after.len());
        if let Err(fault) = fault {
            let fault = fault.to_string();
            assert!(fault.contains("file.html changed while it was being pushed"), "{fault}");
        }
    }
    let gone = source(folder.path(), b"");
    fs::remove_file(&gone.file).unwrap();
    assert!(hash_file(&gone).unwrap_err().to_string().contains("file.html cannot be read: "));
}

#[test]
fn a_file_that_cannot_be_read_has_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(RELEASE_SIZES).unwrap();
    let source = source(folder.path(), &b"abcdefgh".repeat(1000));
    let hashed = hash_file(&source).unwrap();
    fs::remove_file(&source.file).unwrap();
    // A folder can be opened, but not read.
    fs::create_dir(&source.file).unwrap();
    let fault = encode(&source, &hashed.body, &spool).unwrap_err().to_string();
    assert!(fault.contains("file.html cannot be encoded (br): ") && !fault.contains("changed"), "{fault}");
}

/// The spool fails before an encoder has read the whole file.
#[test]
#[cfg(target_os = "linux")]
fn if_the_temporary_disk_is_full_the_file_has_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..200_000_u32).map(|number| number.wrapping_mul(2_654_435_769).to_string()).collect();
    let source = source(folder.path(), lines.concat().as_bytes());
    let hashed = hash_file(&source).unwrap();
    let spool = Spool::full(ChunkSizes { whole_max: 8, chunk: 8 }).unwrap();
    let fault = encode(&source, &hashed.body, &spool).unwrap_err().to_string();
    let expected = format!("cannot write a temporary file in {}: No space left", std::env::temp_dir().display());
    assert!(fault.starts_with(&expected), "{fault}");
}
