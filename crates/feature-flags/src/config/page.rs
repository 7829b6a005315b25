//! The page that a user's configuration personalises (KV documentation, "Build a distributed
//! configuration store").

/// Returns the HTML page, with the banner for preview features or without it. It contains
/// nothing that a user supplied.
#[must_use]
pub const fn page(has_preview: bool) -> &'static str {
    if has_preview { PREVIEW_PAGE } else { REGULAR_PAGE }
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

    #[test]
    fn the_page_has_the_banner_if_preview_features_are_on() {
        for has_preview in [true, false] {
            let page = page(has_preview);
            assert_eq!(page.contains("class=\"preview-banner\""), has_preview);
            assert_eq!(page.contains("You have early access to preview features!"), has_preview);
            assert!(page.contains("<h1>Welcome to My App</h1>"));
            assert!(page.contains("This is the regular content everyone sees."));
        }
    }
}
