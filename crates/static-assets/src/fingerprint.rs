//! Which files have a content hash in their name, as bundlers write them. Caches may store such
//! a file for a year, because other bytes get another name.
//!
//! [`has_content_hash`], which `assets push` asks, prefers false negatives: a hash that is missed
//! costs a revalidation (304), and a name that is taken for a hash keeps an old file in caches
//! for a year. [`may_have_content_hash`], which the Worker asks before it looks in a previous
//! release, prefers false positives. The Worker asks it only of files that the push did not mark
//! as immutable, so it leaves out names that are a hash alone.

use super::media_type::name;

/// Returns true if the name has a content hash. Never for pages, whose path does not change with
/// their bytes.
#[must_use]
pub fn has_content_hash(path: &str) -> bool {
    let Some((stem, extension)) = name(path).rsplit_once('.') else { return false };
    if ["html", "htm", "xhtml"].iter().any(|page| extension.eq_ignore_ascii_case(page)) {
        return false;
    }
    // `app.3f2a1b9c.min.js`, `index-BXf3k2aQ.js.map`: the hash may end any part between dots.
    stem.split('.').enumerate().any(|(index, part)| {
        let is_first = index == 0;
        let (has_prefix, tail) = part.rsplit_once('-').map_or((!is_first, part), |(_, tail)| (true, tail));
        is_hex_hash(tail, has_prefix) || (has_prefix && is_esbuild(tail, extension)) || is_vite(part, is_first)
    })
}

/// Returns true if the name may have a content hash: a part after the first one has at least six
/// letters and digits, with a digit or a capital among them. This is enough to look for the file
/// in a previous release, where a false positive does no harm.
#[must_use]
pub fn may_have_content_hash(path: &str) -> bool {
    let Some((stem, _)) = name(path).rsplit_once('.') else { return false };
    stem.split(['.', '-', '_']).skip(1).any(|part| {
        let is_plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_plain && part.len() >= 6 && part.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    })
}

/// Returns true for hex as webpack, Parcel, Rollup and Hugo write it, always in lower case.
/// Eight or ten digits need a name before them, and have to look random: `2026dec1` is a date.
fn is_hex_hash(tail: &str, has_prefix: bool) -> bool {
    let is_hex = tail.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_mixed = tail.bytes().any(|byte| byte.is_ascii_digit()) && tail.bytes().any(|byte| byte.is_ascii_lowercase());
    is_hex
        && is_mixed
        && match tail.len() {
            8 | 10 => has_prefix && breaks(tail) >= 2,
            // Without a name before it, this is an id of a database.
            24 => has_prefix,
            16..=64 => true,
            // 12 digits are also the end of a UUID, which says nothing about the bytes.
            _ => false,
        }
}

/// Returns true for base32 as esbuild writes it: `chunk-5TQW3XGJ.js`. Only for extensions that
/// bundlers write: `DSC2345A.jpg` comes from a camera.
fn is_esbuild(tail: &str, extension: &str) -> bool {
    let is_base32 = tail.len() == 8 && tail.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
    let is_made = matches!(extension, "js" | "mjs" | "css" | "map" | "wasm" | "woff" | "woff2" | "ttf" | "otf");
    // More than four letters in a row are a word: `Q3REPORT`.
    let has_word = tail.split(|c: char| c.is_ascii_digit()).any(|letters| letters.len() > 4);
    is_base32 && is_made && !has_word && breaks(tail) >= 2
}

/// Returns true for eight characters of base64url as Rollup and Vite write them:
/// `index-BXf3k2aQ.js`, `about.DeJ3k2aQ.css`.
fn is_vite(part: &str, is_first: bool) -> bool {
    let Some((before, hash)) = part.len().checked_sub(8).and_then(|at| part.split_at_checked(at)) else { return false };
    let is_apart = before.ends_with('-') || (before.is_empty() && !is_first);
    let others = hash.bytes().filter(|byte| !byte.is_ascii_alphanumeric());
    let is_base64url = others.clone().all(|byte| matches!(byte, b'-' | b'_')) && others.count() <= 1;
    let has = |is: fn(&u8) -> bool| hash.as_bytes().iter().any(is);
    // In camel case, digits follow lower case and precede capitals, and capitals precede lower
    // case: `md5ToHex`. A hash breaks that rule.
    let breaks_camel_case = hash.as_bytes().windows(2).any(|pair| {
        let &[first, second] = pair else { return false };
        matches!(
            (CharacterClass::of(first), CharacterClass::of(second)),
            (CharacterClass::Digit, CharacterClass::Lower)
                | (CharacterClass::Upper, CharacterClass::Digit | CharacterClass::Upper)
        )
    });
    is_apart
        && is_base64url
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && breaks_camel_case
        && breaks(hash) >= 3
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CharacterClass {
    Upper,
    Lower,
    Digit,
    Other,
}

impl CharacterClass {
    fn of(byte: u8) -> Self {
        match byte {
            b'A'..=b'Z' => Self::Upper,
            b'a'..=b'z' => Self::Lower,
            b'0'..=b'9' => Self::Digit,
            _ => Self::Other,
        }
    }
}

/// Returns how often the class of the characters changes in a way that words do not have. Words
/// change from a capital to lower case, and have digits at the end, as in `Chapter2`.
fn breaks(text: &str) -> usize {
    let text = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let kinds = || text.bytes().map(CharacterClass::of);
    let is_break = |(first, second): &(CharacterClass, CharacterClass)| {
        first != second
            && *first != CharacterClass::Other
            && *second != CharacterClass::Other
            && (*first, *second) != (CharacterClass::Upper, CharacterClass::Lower)
    };
    kinds().zip(kinds().skip(1)).filter(is_break).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_bundlers_write_have_a_content_hash() {
        for (path, tool) in [
            ("/static/js/main.3f2a1b9c.js", "Create React App"),
            ("/static/js/main.3f2a1b9c.js.map", "its source map"),
            ("/static/js/main.3f2a1b9c.js.LICENSE.txt", "its licences"),
            ("/static/css/2.3f2a1b9c.chunk.css", "its chunks"),
            ("/index.3f2a1b9c.css", "Parcel"),
            ("/assets/index-3f2a1b9c.js", "Vite 4"),
            ("/assets/index-BXf3k2aQ.js", "Vite 5"),
            ("/assets/index-BXf3k2aQ.js.map", "its source map"),
            ("/assets/vue.esm-bundler-BXf3k2aQ.js", "a library with a dot"),
            ("/assets/index-B_f3k2aQ.js", "base64url has `_` and `-`"),
            ("/assets/index-B-f3k2aQ.js", "base64url has `_` and `-`"),
            ("/_astro/about.DeJ3k2aQ.css", "Astro"),
            ("/chunk-5TQW3XGJ.js", "esbuild, Angular"),
            ("/media/inter-5TQW3XGJ.woff2", "Angular's fonts"),
            ("/_next/static/chunks/framework-2c79e2a64abdb08b.js", "Next.js"),
            ("/main.0a1b2c3d4e5f60718293.js", "webpack"),
            ("/photo.6f1ed002ab5595859014ebf0951522d9.jpg", "webpack 4"),
            ("/6f1ed002ab5595859014ebf0951522d9.css", "the hash alone"),
            ("/main.min.ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.css", "Hugo"),
        ] {
            assert!(has_content_hash(path), "{path}: {tool}");
        }
    }

    #[test]
    fn names_that_people_write_have_no_content_hash() {
        for path in [
            "/photo-20261121.jpg",
            "/report-version2.pdf",
            "/my-userData.js",
            "/deadbeef.html",
            "/index-BXf3k2aQ.html",
            "/3f2a1b9c.js",
            "/notes-deadbeef.js",
            "/notes-2026dec1.pdf",
            "/notes-10feb2026.pdf",
            "/notes-Chapter2.pdf",
            "/sales-Q3REPORT.js",
            "/photo-DSC2345A.jpg",
            "/photo-US-NY-01.jpg",
            "/util-md5ToHex.js",
            "/util-b64ToHex.js",
            "/util-mp3ToMp4.js",
            "/lib-getURLId.js",
            "/lib-ToDoList.js",
            "/jquery-3.7.1.min.js",
            "/lib.v1.2.3.js",
            "/font-awesome.css",
            "/a1b2c3d4-e5f6-7890-abcd-ef1234567890.jpg",
            "/4711081512345678.jpg",
            "/folder-3f2a1b9c.d/app.js",
            "/app-3f2a1b9c",
            "/app-3F2A1B9C.js",
            "/über-ÄÖÜäöü12.js",
            "/äääääää8.aa.js",
            "/-.js",
            "/.js",
            "",
        ] {
            assert!(!has_content_hash(path), "{path}");
        }
    }
}
