//! The page that a user's configuration personalises (KV documentation, "Build a distributed configuration store").

use serde::Deserialize;

use crate::limits::{Key, KeyError};
use crate::record::{self, BrokenRecord};
use crate::request_target::{BadPercentEncoding, RequestTarget};

/// Why a request names no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no id. The sentence is the documented one.
    #[error("Please provide a userId query parameter")]
    MissingUserId,
    /// The id's percent-encoding is broken.
    #[error(transparent)]
    Encoding(#[from] BadPercentEncoding),
    /// The id is no key of Workers KV.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A user's record, such as `{"preview_features_enabled": true}`. Other members are allowed and not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct UserConfiguration {
    /// Shows the preview banner.
    #[serde(default)]
    pub preview_features_enabled: bool,
}

/// The key of the user's record: the query parameter `userId`.
///
/// # Errors
/// [`ConfigError`] where there is none or it is no key of Workers KV.
pub fn user_key<'a>(target: &RequestTarget<'a>) -> Result<Key<'a>, ConfigError> {
    match target.parameter("userId")? {
        Some(id) if !id.is_empty() => Ok(Key::new(id)?),
        _ => Err(ConfigError::MissingUserId),
    }
}

impl UserConfiguration {
    /// Reads a record.
    ///
    /// # Errors
    /// The record is no JSON object or `preview_features_enabled` is no boolean.
    pub fn parse(record: &str) -> Result<Self, BrokenRecord> {
        record::parse(record)
    }

    /// The HTML page for this user. Nothing a user supplied stands in it.
    #[must_use]
    pub const fn page(self) -> &'static str {
        if self.preview_features_enabled { PREVIEW_PAGE } else { REGULAR_PAGE }
    }
}

macro_rules! page {
    ($banner:literal) => {
        concat!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>My App</title>\n<style>\n",
            "body { font-family: Arial, sans-serif; max-width: 800px; margin: 0 auto; padding: 20px; }\n",
            ".preview-banner { background-color: #ffeb3b; padding: 10px; text-align: center; margin-bottom: 20px; ",
            "border-radius: 4px; }\n",
            "</style>\n</head>\n<body>\n",
            $banner,
            "<h1>Welcome to My App</h1>\n<p>This is the regular content everyone sees.</p>\n</body>\n</html>\n",
        )
    };
}

const REGULAR_PAGE: &str = page!("");
const PREVIEW_PAGE: &str =
    page!("<div class=\"preview-banner\">\n🎉 You have early access to preview features! 🎉\n</div>\n");

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> Result<String, ConfigError> {
        user_key(&RequestTarget::parse(url)).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn the_user_is_the_query_parameter_user_id() {
        assert_eq!(key("http://h/config?userId=user-id-abc"), Ok("user-id-abc".into()));
        assert_eq!(key("http://h/config?x=1&userId=a%2Fb+c"), Ok("a/b c".into()));
        for url in ["http://h/config", "http://h/config?userId=", "http://h/config?userid=a"] {
            assert_eq!(key(url), Err(ConfigError::MissingUserId), "{url}");
        }
        assert_eq!(key("http://h/config?userId=%zz"), Err(ConfigError::Encoding(BadPercentEncoding)));
        assert_eq!(key("http://h/config?userId=.."), Err(ConfigError::Key(KeyError::Dots)));
    }

    #[test]
    fn preview_banner_stands_where_the_record_says_so() {
        for (record, banner) in [
            (r#"{"preview_features_enabled": true}"#, true),
            (r#"{"preview_features_enabled": true, "plan": "pro"}"#, true),
            (r#"{"preview_features_enabled": false}"#, false),
            ("{}", false),
        ] {
            let page = UserConfiguration::parse(record).unwrap().page();
            assert_eq!(page.contains("class=\"preview-banner\""), banner, "{record}");
            assert_eq!(page.contains("You have early access to preview features!"), banner, "{record}");
            assert!(
                page.contains("<h1>Welcome to My App</h1>")
                    && page.contains("This is the regular content everyone sees.")
            );
        }
    }

    #[test]
    fn a_broken_record_is_an_error_and_not_a_guess() {
        for record in ["", "{", "null", "[]", "true", r#"{"preview_features_enabled": "yes"}"#] {
            assert!(UserConfiguration::parse(record).is_err(), "{record}");
        }
    }
}
