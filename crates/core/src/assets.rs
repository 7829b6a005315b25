//! Static files out of the `assets` namespace (KV documentation, "Store and retrieve static assets").

use std::borrow::Cow;

use crate::limits::{Key, KeyError};
use crate::request_target::{BadPercentEncoding, percent_decode};

/// Why a path names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// The path's percent-encoding is broken.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The decoded path is no key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No file has this key.
    #[error("Not found")]
    NotFound,
}

/// The file that answers `/`.
const INDEX: Key<'static> = Key::literal("index.html");

/// The key of the file at a path: percent-decoded once, without leading slashes; `/` is `index.html`.
///
/// # Errors
/// [`AssetError`] where the path is badly encoded or no key of Workers KV.
pub fn key(path: &str) -> Result<Key<'_>, AssetError> {
    match path.trim_start_matches('/') {
        "" => Ok(INDEX),
        name => Ok(Key::new(percent_decode(name)?)?),
    }
}

/// The `Content-Type` of a key, by its extension. As documented, text and JavaScript carry `charset=utf-8`, and what has no
/// known extension is text.
#[must_use]
pub fn content_type(key: &str) -> Cow<'static, str> {
    let extension =
        key.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension);
    let essence = match mime_guess::from_ext(extension).first_raw() {
        // RFC 9239 §6: one name for all JavaScript, modules too.
        Some("application/javascript") => "text/javascript",
        Some(essence) => essence,
        None => "text/plain",
    };
    if essence.starts_with("text/") { Cow::Owned(format!("{essence}; charset=utf-8")) } else { Cow::Borrowed(essence) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_the_path_decoded_once() {
        for (path, expected) in [
            ("/", "index.html"),
            ("/index.html", "index.html"),
            ("//a//b/", "a//b/"),
            ("/a%20b%2Fc.txt", "a b/c.txt"),
            ("/100%2525", "100%25"),
            ("/%E2%82%AC.svg", "€.svg"),
        ] {
            assert_eq!(key(path).unwrap().as_str(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_key_is_an_error() {
        assert_eq!(key("/%zz"), Err(AssetError::Encoding(BadPercentEncoding)));
        assert_eq!(key("/%ff"), Err(AssetError::Encoding(BadPercentEncoding)));
        assert_eq!(key("/%2E%2e"), Err(AssetError::Key(KeyError::Dots)));
        let long = format!("/{}", "%61".repeat(513));
        assert_eq!(key(&long), Err(AssetError::Key(KeyError::TooLong(513))));
    }

    #[test]
    fn content_type_follows_the_extension() {
        for (key, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("README.TXT", "text/plain; charset=utf-8"),
            ("data.json", "application/json"),
            ("logo.svg", "image/svg+xml"),
            ("photo.PNG", "image/png"),
            ("film.mp4", "video/mp4"),
            ("font.woff2", "font/woff2"),
            ("doc.pdf", "application/pdf"),
            ("module.wasm", "application/wasm"),
            ("no-extension", "text/plain; charset=utf-8"),
            ("folder.png/no-extension", "text/plain; charset=utf-8"),
            ("strange.qqq", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(content_type(key), expected, "{key}");
        }
    }
}
