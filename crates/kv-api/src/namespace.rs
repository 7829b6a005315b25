//! Namespaces: their ids, their pages, and which of them may be changed.

use http_semantics::content_hash;
use serde::{Deserialize, Serialize};

use crate::call::NamespacesQuery;
use crate::envelope::PageInfo;
use crate::error::KvApiError;

/// The most namespaces that clients may create ("Limits").
pub const NAMESPACES_MAX: usize = 1000;

/// The length of an id, in hexadecimal digits.
pub const ID_DIGITS: usize = 32;

/// The longest title, in bytes.
const TITLE_BYTES_MAX: usize = 512;

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiNamespace {
    /// [`ID_DIGITS`] hexadecimal digits.
    pub id: String,
    /// The name that people use.
    pub title: String,
}

/// A namespace as the API shows it.
#[derive(Debug, Serialize)]
pub struct NamespaceResult<'a> {
    id: &'a str,
    title: &'a str,
    supports_url_encoding: bool,
}

impl ApiNamespace {
    /// Returns the namespace of a binding. Its id follows from the name, so it is the same in each
    /// isolate and after each deploy.
    #[must_use]
    pub fn of_binding(name: &str) -> Self {
        let id = content_hash::hash(format!("kv-edge binding {name}").as_bytes());
        Self { id, title: name.to_owned() }
    }

    /// Returns a namespace that a client creates. Its id is a random UUID without the hyphens.
    #[must_use]
    pub fn created(title: String, uuid: &str) -> Self {
        Self { id: uuid.replace('-', ""), title }
    }

    /// Returns true if this is the id of the namespace, in any case of letters, or its title.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name) || self.title == name
    }

    /// Returns the namespace as the API shows it.
    #[must_use]
    pub fn result(&self) -> NamespaceResult<'_> {
        NamespaceResult { id: &self.id, title: &self.title, supports_url_encoding: true }
    }
}

/// Returns a page of namespaces and its position. A page after the last one is empty, because
/// clients ask until they get such a page.
///
/// [`page_of`] has an example.
#[must_use]
pub fn page(mut namespaces: Vec<ApiNamespace>, query: &NamespacesQuery) -> (Vec<ApiNamespace>, PageInfo<'static>) {
    if query.by_title {
        namespaces.sort_by(|one, other| one.title.cmp(&other.title));
    } else {
        namespaces.sort_by(|one, other| one.id.cmp(&other.id));
    }
    if query.is_descending {
        namespaces.reverse();
    }
    page_of(namespaces, query.page, query.per_page)
}

/// Returns a page of a list and its position.
///
/// # Examples
///
/// ```
/// use kv_api::namespace::page_of;
///
/// let (page, _) = page_of(vec!["assets", "CACHE_KV", "WRITES"], 2, 2);
/// assert_eq!(page, ["WRITES"]);
/// let (after_the_last, _) = page_of(vec!["assets", "CACHE_KV", "WRITES"], 3, 2);
/// assert!(after_the_last.is_empty());
/// ```
#[must_use]
pub fn page_of<T>(all: Vec<T>, page: u64, per_page: u64) -> (Vec<T>, PageInfo<'static>) {
    let total_count = all.len();
    // The number of a page can be any: a product that is too large is after the last one as well.
    let skipped = usize::try_from((page - 1).saturating_mul(per_page)).unwrap_or(usize::MAX);
    let most = usize::try_from(per_page).unwrap_or(usize::MAX);
    let entries: Vec<T> = all.into_iter().skip(skipped).take(most).collect();
    let total_pages = (total_count as u64).div_ceil(per_page);
    let info = PageInfo::Page { page, per_page, count: entries.len(), total_count, total_pages };
    (entries, info)
}

/// Reads the title in the body of a call that creates or renames a namespace.
///
/// # Errors
/// [`KvApiError::InvalidTitle`] if the body does not parse, or the title is empty, too long or has
/// control characters, and [`KvApiError::NoJurisdictions`] if the body asks for a jurisdiction.
///
/// # Examples
///
/// ```
/// use kv_api::error::KvApiError;
/// use kv_api::namespace::parse_title;
///
/// assert_eq!(parse_title(br#"{"title": "users"}"#).as_deref(), Ok("users"));
/// assert_eq!(parse_title(br#"{"title": ""}"#), Err(KvApiError::InvalidTitle));
/// ```
pub fn parse_title(body: &[u8]) -> Result<String, KvApiError> {
    #[derive(Deserialize)]
    struct Body {
        title: String,
        jurisdiction: Option<String>,
    }
    let Body { title, jurisdiction } = serde_json::from_slice(body).map_err(|_| KvApiError::InvalidTitle)?;
    if jurisdiction.is_some() {
        return Err(KvApiError::NoJurisdictions);
    }
    let is_title = (1..=TITLE_BYTES_MAX).contains(&title.len()) && !title.contains(char::is_control);
    if is_title { Ok(title) } else { Err(KvApiError::InvalidTitle) }
}

/// The bindings that hold kv-edge's own records. None of them can be the home of created
/// namespaces: their keys would be files, users or storefronts.
const OWN_BINDINGS: [&str; 6] =
    ["CACHE_KV", "USER_CONFIGURATION", "ROUTING_CONFIG", "assets", "WRITES", "USERS_NOTIFICATION_CONFIG"];

/// Returns the binding that the var `KV_API_NAMESPACES` names, if it can be the home of created
/// namespaces.
#[must_use]
pub fn home(var: &str, bindings: &[String]) -> Option<String> {
    let name = var.trim();
    let is_home = bindings.iter().any(|binding| binding == name) && !OWN_BINDINGS.contains(&name);
    is_home.then(|| name.to_owned())
}

/// The bindings that the API may change: the var `KV_API_WRITABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableBindings(Vec<String>);

impl WritableBindings {
    /// Reads names of bindings, separated by commas; `*` stands for all.
    ///
    /// [`check`](Self::check) has an example.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        Self(list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// Checks that a binding may be changed.
    ///
    /// # Errors
    /// [`KvApiError::ReadOnlyNamespace`].
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::namespace::WritableBindings;
    ///
    /// let writable = WritableBindings::parse("WRITES, USERS");
    /// assert!(writable.check("USERS").is_ok() && writable.check("assets").is_err());
    /// assert!(WritableBindings::parse("").check("WRITES").is_err());
    /// ```
    pub fn check(&self, binding: &str) -> Result<(), KvApiError> {
        if self.0.iter().any(|name| name == binding || name == "*") {
            Ok(())
        } else {
            Err(KvApiError::ReadOnlyNamespace(binding.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_has_a_stable_id() {
        let namespace = ApiNamespace::of_binding("assets");
        assert_eq!(namespace.id, "fe9954c67bc6fa07bfea1318280ea033");
        assert!(namespace.is_named("assets") && namespace.is_named(&namespace.id.to_uppercase()));
        assert!(!namespace.is_named("ASSETS") && !namespace.is_named(""));
    }

    #[test]
    fn pages_are_ordered_and_end_with_an_empty_one() {
        let namespaces: Vec<_> =
            ["b", "c", "a"].map(|title| ApiNamespace { id: format!("id-{title}"), title: title.into() }).into();
        let titles = |page_number, is_descending| {
            let query = NamespacesQuery { page: page_number, per_page: 2, by_title: true, is_descending };
            let (page, info) = page(namespaces.clone(), &query);
            let titles: String = page.iter().map(|namespace| namespace.title.as_str()).collect();
            (titles, serde_json::to_string(&info).unwrap())
        };
        let info =
            |page, count| format!(r#"{{"page":{page},"per_page":2,"count":{count},"total_count":3,"total_pages":2}}"#);
        assert_eq!(titles(1, false), ("ab".into(), info(1, 2)));
        assert_eq!(titles(2, false), ("c".into(), info(2, 1)));
        assert_eq!(titles(3, false), (String::new(), info(3, 0)));
        assert_eq!(titles(1, true), ("cb".into(), info(1, 2)));
        assert_eq!(titles(u64::MAX, true).0, "");
    }

    #[test]
    fn a_title_is_text() {
        assert_eq!(parse_title(br#"{"title":"t","jurisdiction":null,"other":1}"#), Ok("t".to_owned()));
        assert_eq!(parse_title(br#"{"title":"t","jurisdiction":"eu"}"#), Err(KvApiError::NoJurisdictions));
        for body in [
            "",
            "{}",
            r#"{"title":""}"#,
            r#"{"title":1}"#,
            r#"{"title":"a\u0007"}"#,
            &format!(r#"{{"title":"{}"}}"#, "t".repeat(513)),
        ] {
            assert_eq!(parse_title(body.as_bytes()), Err(KvApiError::InvalidTitle), "{body}");
        }
    }

    #[test]
    fn the_home_of_created_namespaces_is_a_binding_that_has_none_of_kv_edges_own_records() {
        let bindings = ["assets", "KV_NAMESPACES"].map(str::to_owned);
        assert_eq!(home(" KV_NAMESPACES ", &bindings).as_deref(), Some("KV_NAMESPACES"));
        for var in ["", "assets", "OTHER"] {
            assert_eq!(home(var, &bindings), None, "{var}");
        }
    }

    #[test]
    fn only_listed_bindings_are_writable() {
        let listed = WritableBindings::parse(" WRITES , assets,");
        assert!(listed.check("WRITES").is_ok() && listed.check("assets").is_ok());
        assert_eq!(listed.check("CACHE_KV"), Err(KvApiError::ReadOnlyNamespace("CACHE_KV".into())));
        assert!(WritableBindings::parse("").check("").is_err());
        assert!(WritableBindings::parse("*").check("CACHE_KV").is_ok());
    }
}
