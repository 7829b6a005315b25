//! The media type of a file, by the extension in its name, and what follows from the type.

use std::borrow::Cow;

/// The media type of a file whose extension is unknown (RFC 2046 §4.5.1).
pub const UNKNOWN: &str = "application/octet-stream";

/// Extensions for which `mime_guess` has no type, an old one, or an unsuitable one.
const OVERRIDES: [(&str, &str); 12] = [
    // RFC 9239 §6: one name for all JavaScript, modules too.
    ("cjs", "text/javascript"),
    ("jsonl", "application/jsonl"),
    ("m3u8", "application/vnd.apple.mpegurl"), // RFC 8216 §10
    ("m4a", "audio/mp4"),                      // RFC 4337 §3.1
    ("map", "application/json"),               // ECMA-426
    ("mjs", "text/javascript"),
    ("ndjson", "application/x-ndjson"),
    ("otf", "font/otf"),   // RFC 8081 §4.4.3
    ("ts", "video/mp2t"),  // RFC 8216 §3.2: a segment of a stream.
    ("woff", "font/woff"), // RFC 8081 §4.4.5
    // RFC 7303 §9.1. Not `text/xml`: its `charset` would override the encoding in the document.
    ("xml", "application/xml"),
    ("xsl", "application/xml"),
];

/// Returns the `Content-Type` of a file, by the extension in its name; text gets
/// `charset=utf-8`. `None` if the extension is unknown or there is none.
///
/// [`content_type`](crate::content_type) has an example.
#[must_use]
pub fn of_path(path: &str) -> Option<Cow<'static, str>> {
    let (_, extension) = name(path).rsplit_once('.')?;
    let overridden =
        OVERRIDES.iter().find(|(listed, _)| extension.eq_ignore_ascii_case(listed)).map(|(_, essence)| *essence);
    let essence = overridden.or_else(|| mime_guess::from_ext(extension).first_raw())?;
    let is_text = essence.starts_with("text/");
    Some(if is_text { Cow::Owned(format!("{essence}; charset=utf-8")) } else { Cow::Borrowed(essence) })
}

/// Returns true if compression is worth a try: for text and for known formats that are not
/// compressed themselves.
#[must_use]
pub fn is_compressible(media_type: &str) -> bool {
    let essence = essence(media_type);
    match essence.split_once('/') {
        Some(("text", _)) => true,
        // RFC 6839 §3.1, RFC 7303 §4.2: all of these are JSON or XML.
        Some((_, subtype)) if subtype.ends_with("+json") || subtype.ends_with("+xml") => true,
        Some(("application", subtype)) => matches!(
            subtype,
            "javascript"
                | "json"
                | "json5"
                | "jsonl"
                | "rtf"
                | "vnd.apple.mpegurl"
                | "vnd.ms-fontobject"
                | "wasm"
                | "x-javascript"
                | "x-ndjson"
                | "x-sh"
                | "x-sql"
                | "x-subrip"
                | "x-tar"
                | "xml"
                | "xml-dtd"
        ),
        // WOFF and WOFF2 are compressed (RFC 8081 §4.4.5 and §4.4.6).
        Some(("font", subtype)) => matches!(subtype, "collection" | "otf" | "sfnt" | "ttf"),
        Some(("image", subtype)) => matches!(subtype, "bmp" | "vnd.microsoft.icon" | "x-icon" | "x-ms-bmp"),
        Some(("model", subtype)) => matches!(subtype, "gltf-binary" | "obj" | "stl"),
        _ => false,
    }
}

/// Returns true if the type is HTML or XHTML.
#[must_use]
pub fn is_html(media_type: &str) -> bool {
    matches!(essence(media_type), "text/html" | "application/xhtml+xml")
}

/// Returns the last segment of a path.
pub(super) fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Returns the type without its parameters (RFC 9110 §8.3.1).
fn essence(media_type: &str) -> &str {
    media_type.split_once(';').map_or(media_type, |(essence, _)| essence).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_follows_the_extension() {
        for (path, expected) in [
            ("/index.html", "text/html; charset=utf-8"),
            ("a/style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("app.cjs", "text/javascript; charset=utf-8"),
            ("README.TXT", "text/plain; charset=utf-8"),
            ("guide.md", "text/markdown; charset=utf-8"),
            ("data.csv", "text/csv; charset=utf-8"),
            ("subtitles.vtt", "text/vtt; charset=utf-8"),
            ("app.3f2a1b9c.js.map", "application/json"),
            ("data.json", "application/json"),
            ("data.jsonl", "application/jsonl"),
            ("site.webmanifest", "application/manifest+json"),
            ("sitemap.xml", "application/xml"),
            ("feed.rss", "application/rss+xml"),
            ("module.WASM", "application/wasm"),
            ("doc.pdf", "application/pdf"),
            ("logo.svg", "image/svg+xml"),
            ("photo.PNG", "image/png"),
            ("photo.jpg", "image/jpeg"),
            ("photo.webp", "image/webp"),
            ("photo.avif", "image/avif"),
            ("favicon.ico", "image/x-icon"),
            ("font.woff2", "font/woff2"),
            ("font.woff", "font/woff"),
            ("font.otf", "font/otf"),
            ("font.ttf", "font/ttf"),
            ("film.mp4", "video/mp4"),
            ("film.webm", "video/webm"),
            ("film.m3u8", "application/vnd.apple.mpegurl"),
            ("film.ts", "video/mp2t"),
            ("song.m4a", "audio/mp4"),
            ("song.mp3", "audio/mpeg"),
        ] {
            assert_eq!(of_path(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn an_unknown_extension_has_no_type() {
        for path in ["", "/", "no-extension", "folder.png/no-extension", "strange.qqq", "dot.", "html", "héllo.é"] {
            assert_eq!(of_path(path), None, "{path}");
        }
    }

    #[test]
    fn text_and_known_uncompressed_formats_are_compressible() {
        let of = |name: &str| of_path(name).unwrap();
        for name in [
            "a.html",
            "a.css",
            "a.js",
            "a.json",
            "a.map",
            "a.svg",
            "a.xml",
            "a.txt",
            "a.wasm",
            "a.webmanifest",
            "a.ttf",
            "a.otf",
            "a.ico",
            "a.bmp",
            "a.jsonl",
            "a.geojson",
            "a.atom",
            "a.m3u8",
            "a.eot",
            "a.gltf",
        ] {
            assert!(is_compressible(&of(name)), "{name}");
        }
        for name in [
            "a.woff2", "a.woff", "a.png", "a.jpg", "a.gif", "a.webp", "a.avif", "a.zip", "a.gz", "a.mp4", "a.mp3",
            "a.pdf", "a.ts",
        ] {
            assert!(!is_compressible(&of(name)), "{name}");
        }
        assert!(!is_compressible(UNKNOWN) && !is_compressible("") && !is_compressible("text"));
    }

    #[test]
    fn pages_are_html() {
        assert!(is_html("text/html") && is_html("text/html; charset=utf-8") && is_html("application/xhtml+xml"));
        assert!(!is_html("text/plain; charset=utf-8") && !is_html("text/htmlx") && !is_html(""));
    }

    /// So that an extension that is listed twice is noticed. The search itself is linear.
    #[test]
    fn the_overrides_are_sorted() {
        assert!(OVERRIDES.is_sorted_by(|(a, _), (b, _)| a < b));
    }
}
