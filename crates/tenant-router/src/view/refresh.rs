//! `Refresh: 5; url=/login`. It is in no RFC, but in the HTML Standard ("shared declarative
//! refresh steps").

use super::{ReachableUpstreams, VisitorView, escaped};

impl VisitorView<'_> {
    /// Returns the visitor's value of `Refresh`, with its URL rewritten as
    /// [`location`](VisitorView::location) does, or `None` if it stays as it is.
    ///
    /// Everything but the URL is kept byte for byte. Within a quoted URL, the quote is
    /// percent-encoded.
    #[must_use]
    pub fn refresh(&self, value: &str, upstreams: &impl ReachableUpstreams) -> Option<String> {
        let (before, url, quote) = split(value)?;
        let (url, after) = match quote.and_then(|quote| url.find(quote)) {
            Some(end) => url.split_at(end),
            None => (url, ""),
        };
        let mapped = self.location(url, upstreams)?;
        Some([before, &escaped(&mapped, quote.as_slice()), after].concat())
    }
}

/// Returns the part before the URL, the URL with everything after it, and the quote before it;
/// `None` if there is no URL.
fn split(value: &str) -> Option<(&str, &str, Option<char>)> {
    let after_time =
        value.trim_start().trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    let time = value.strip_suffix(after_time)?.trim_start();
    if time.is_empty() || !after_time.starts_with([';', ',', ' ', '\t']) {
        return None;
    }
    let url = after_time.trim_start();
    let url = url.strip_prefix([';', ',']).unwrap_or(url).trim_start();
    let url = without_label(url).unwrap_or(url);
    let quote = url.chars().next().filter(|first| matches!(first, '"' | '\''));
    let url = quote.and_then(|quote| url.strip_prefix(quote)).unwrap_or(url);
    value.strip_suffix(url).map(|before| (before, url, quote))
}

/// Strips `url =`, in any case.
fn without_label(text: &str) -> Option<&str> {
    let (label, url) = text.split_at_checked(3)?;
    let url = url.trim_start().strip_prefix('=')?.trim_start();
    label.eq_ignore_ascii_case("url").then_some(url)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Storefront, view};

    #[test]
    fn the_url_of_a_refresh_is_mapped_and_nothing_else_changes() {
        for (value, expected) in [
            ("5; url=/shop/login", Some("5; url=/stores/a/login")),
            ("0;URL='/shop/x'", Some("0;URL='/stores/a/x'")),
            ("5, url=\"https://a.example/shop/x?y#z\"", Some("5, url=\"https://v.example/stores/a/x?y#z\"")),
            ("0.5;url = next ", Some("0.5;url = /stores/a/x/next")),
            (" 5 ; uRl=/shop/x", Some(" 5 ; uRl=/stores/a/x")),
            ("5;/shop/x", Some("5;/stores/a/x")),
            ("5 /shop/x", Some("5 /stores/a/x")),
            ("5; up/there", Some("5; /stores/a/x/up/there")),
            ("5; '/shop/x' and more", Some("5; '/stores/a/x' and more")),
            ("5; url='/shop/x", Some("5; url='/stores/a/x")),
            ("5; url=/shop/it's", Some("5; url=/stores/a/it's")),
            ("5; url=/admin", Some("5; url=https://a.example/admin")),
            (".5; url=/shop/x", Some(".5; url=/stores/a/x")),
            ("5", None),
            ("5;", None),
            ("5; url=", None),
            ("5; url=?page=2", None),
            ("5; url=https://other.example/", None),
            ("5x; url=/shop/x", None),
            ("; url=/shop/x", None),
            ("url=/shop/x", None),
            ("", None),
            ("€; €=€", None),
        ] {
            let shop = Storefront::shop();
            assert_eq!(view(&shop, "/stores/a").refresh(value, &shop).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_quote_in_the_prefix_does_not_end_the_url() {
        let shop = Storefront::shop();
        let view = view(&shop, "/stores/it's");
        assert_eq!(view.refresh("0; url='/shop/x'", &shop).as_deref(), Some("0; url='/stores/it%27s/x'"));
        assert_eq!(view.refresh("0; url=/shop/x", &shop).as_deref(), Some("0; url=/stores/it's/x"));
    }
}
