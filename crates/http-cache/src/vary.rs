//! Variants: whether a stored response matches a request (RFC 9111 §4.1).
//!
//! `Vary` names the request fields that a response was chosen by. The cache stores a hash of
//! their values with the response, and uses it only for requests whose values are equivalent, with
//! one exception: a different `Accept-Language` that prefers the language of the response to all
//! others also matches.
//!
//! ```
//! use http_cache::vary::{Vary, matches, selecting_fields};
//! use http_semantics::fields::HeaderSection;
//!
//! let Vary::Names(names) = Vary::parse(Some("Accept-Encoding")) else { unreachable!() };
//! let request = |value| HeaderSection::from(&[("accept-encoding", value)]);
//! let stored_for = selecting_fields(&names, &request("gzip, br"));
//! let response = HeaderSection::default();
//! assert!(matches(&stored_for, &response, &request("BR,gzip")));
//! assert!(!matches(&stored_for, &response, &request("gzip")));
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use http_semantics::fields::{Fields, is_name, list};
use http_semantics::language;
use http_semantics::weight;

/// The parsed value of `Vary` (RFC 9110 §12.5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vary {
    /// The response is the same for all requests.
    Nothing,
    /// `*`: the response depends on more than the request's fields, so no other request matches.
    Star,
    /// It depends on these request fields: in lower case, sorted, without duplicates.
    Names(Vec<String>),
}

impl Vary {
    /// Parses the field. With a malformed member it is unknown what the response depends on, so
    /// the field counts as `*`.
    ///
    /// [The module](self) has an example.
    #[must_use]
    pub fn parse(field: Option<&str>) -> Self {
        let mut names: Vec<String> = list(field.unwrap_or_default()).map(str::to_ascii_lowercase).collect();
        // By the grammar, `*` is a field name, too.
        if names.iter().any(|name| name == "*" || !is_name(name)) {
            return Self::Star;
        }
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { Self::Nothing } else { Self::Names(names) }
    }
}

/// The selecting fields of a request: names, each with its selector, which is a hash of the
/// normalized value, because values can be secrets, or `-` if the request does not have the field.
pub type SelectingFields = Vec<(String, String)>;

/// Returns true if two lists have the same names, whatever their values are.
#[must_use]
pub fn have_same_names(one: &SelectingFields, other: &SelectingFields) -> bool {
    one.iter().map(|(name, _)| name).eq(other.iter().map(|(name, _)| name))
}

/// Returns true if the request had this field, and the response is for requests with its value.
#[must_use]
pub fn is_selected_by(selecting_fields: &SelectingFields, name: &str) -> bool {
    selecting_fields.iter().any(|(selecting, selector)| selecting == name && selector != ABSENT)
}

/// Returns the hash of each value by name; `None` if the request does not have the field.
#[must_use]
pub fn selectors(selecting_fields: &SelectingFields) -> BTreeMap<String, Option<String>> {
    let hash_of = |selector: &String| (selector != ABSENT).then(|| selector.clone());
    selecting_fields.iter().map(|(name, selector)| (name.clone(), hash_of(selector))).collect()
}

/// The selector of a field that is missing. No hash is as short.
const ABSENT: &str = "-";

/// Returns the selecting fields of a request for these names.
///
/// [The module](self) has an example.
#[must_use]
pub fn selecting_fields(names: &[String], request: &impl Fields) -> SelectingFields {
    names.iter().map(|name| (name.clone(), selector(name, request))).collect()
}

/// Returns the selecting fields of a request for the names of these selecting fields.
#[must_use]
pub fn selecting_fields_like(selecting_fields: &SelectingFields, request: &impl Fields) -> SelectingFields {
    selecting_fields.iter().map(|(name, _)| (name.clone(), selector(name, request))).collect()
}

/// Returns true if a stored response matches a request: the request's value of each of the
/// `selecting_fields` is equivalent to the stored one (RFC 9111 §4.1). A different
/// `Accept-Language` also matches if the stored response is in the one language that the request
/// prefers to all others.
///
/// [The module](self) has an example.
#[must_use]
pub fn matches(selecting_fields: &SelectingFields, stored_fields: &impl Fields, request: &impl Fields) -> bool {
    selecting_fields.iter().all(|(name, stored)| {
        selector(name, request) == *stored
            || (name == "accept-language" && is_in_wanted_language(stored_fields, request))
    })
}

fn selector(name: &str, request: &impl Fields) -> String {
    request.get(name).map_or_else(|| ABSENT.to_owned(), |value| hash(&normalize(name, &value)))
}

/// Returns the first 16 bytes of SHA-256 as a number of 22 digits, the least significant first, in
/// the alphabet of base64url. That is not the encoding base64url.
fn hash(value: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes = Sha256::digest(value.as_bytes());
    let mut number = bytes.iter().take(16).fold(0, |number: u128, byte| (number << 8) | u128::from(*byte));
    let digits = std::iter::from_fn(|| {
        let [.., last] = number.to_be_bytes();
        let digit = DIGITS.get(usize::from(last & 63))?;
        number >>= 6;
        Some(char::from(*digit))
    });
    digits.take(22).collect()
}

/// Returns the value in a form that equivalent values share (RFC 9111 §4.1). `Accept`,
/// `Accept-Encoding`, `Accept-Charset` and `Accept-Language` are normalized by their
/// specification; any other field only loses its optional white space.
fn normalize(name: &str, value: &str) -> String {
    // RFC 9110 §12.5.1 to §12.5.4: only the weights define an order. Names of media types,
    // charsets, codings and languages are case-insensitive (§8.3.1, §8.3.2, §8.4.1, §8.5.1).
    let member: fn(&str) -> Option<String> = match name {
        "accept" => media_range,
        "accept-encoding" => coding,
        "accept-charset" | "accept-language" => |member| weighted(member).map(|(name, weight)| written(name, weight)),
        _ => return without_optional_white_space(value),
    };
    let Some(members) = split(value, ',') else { return without_optional_white_space(value) };
    let members = members.into_iter().map(trimmed).filter(|member| !member.is_empty());
    // A malformed member stays as it is.
    let mut members: Vec<String> = members.map(|raw| member(raw).unwrap_or_else(|| raw.to_owned())).collect();
    members.sort_unstable();
    members.dedup();
    members.join(",")
}

/// Removes white space at the ends and around commas, except in quoted strings.
fn without_optional_white_space(value: &str) -> String {
    match split(trimmed(value), ',') {
        Some(members) => members.into_iter().map(trimmed).collect::<Vec<_>>().join(","),
        None => trimmed(value).to_owned(),
    }
}

/// Removes the white space that lists allow (RFC 9110 §5.6.3), and no other.
fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// Splits at separators outside of quoted strings (RFC 9110 §5.6.4). Returns `None` if a quote
/// is not closed.
fn split(value: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = value
        .split(|character: char| {
            let was_escaped = std::mem::take(&mut is_escaped);
            match character {
                '"' if !was_escaped => is_quoted = !is_quoted,
                '\\' if is_quoted => is_escaped = !was_escaped,
                _ => return character == separator && !is_quoted,
            }
            false
        })
        .collect();
    (!is_quoted).then_some(parts)
}

/// Normalizes a member of `Accept-Encoding`, such as `gzip;q=0.5` (RFC 9110 §12.5.3). `x-gzip`
/// and `x-compress` are equivalent to `gzip` and `compress` (§8.4.1).
fn coding(member: &str) -> Option<String> {
    let (name, weight) = weighted(member)?;
    let name = match name.as_str() {
        "x-gzip" => "gzip".to_owned(),
        "x-compress" => "compress".to_owned(),
        _ => name,
    };
    Some(written(name, weight))
}

/// Returns a name in lower case and its weight; `None` if the member is malformed or has other
/// parameters.
fn weighted(member: &str) -> Option<(String, u16)> {
    let (name, weight) = match member.split_once(';') {
        Some((name, parameter)) => (name.trim(), weight::parse(parameter)?),
        None => (member.trim(), 1000),
    };
    is_name(name).then(|| (name.to_ascii_lowercase(), weight))
}

/// Normalizes a media range, such as `text/html;level=1;q=0.5` (RFC 9110 §12.5.1). Values of
/// parameters keep their case, because its meaning is unknown.
fn media_range(member: &str) -> Option<String> {
    let parts = split(member, ';')?;
    let (media_type, parameters) = parts.split_first()?;
    let (main, sub) = media_type.trim().split_once('/')?;
    if !(is_name(main) && is_name(sub)) {
        return None;
    }
    let (mut name, mut weight) = (media_type.trim().to_ascii_lowercase(), None);
    for parameter in parameters {
        let (parameter, value) = parameter.trim().split_once('=')?;
        // The weight comes last.
        if !is_name(parameter) || weight.is_some() {
            return None;
        }
        if parameter.eq_ignore_ascii_case("q") {
            weight = Some(weight::parse(&format!("q={value}"))?);
        } else {
            name.extend([";", &parameter.to_ascii_lowercase(), "=", value]);
        }
    }
    Some(written(name, weight.unwrap_or(1000)))
}

/// Appends the weight in its shortest form; 1 is left out (RFC 9110 §12.4.2).
fn written(mut name: String, weight: u16) -> String {
    if weight < 1000 {
        name.push_str(format!(";q=0.{weight:03}").trim_end_matches('0').trim_end_matches('.'));
    }
    name
}

/// Returns true if `Content-Language` is exactly the language that the request prefers to all
/// others. RFC 9111 §4.1: a "known mechanism for ranking preference … MAY be used to choose a
/// preferred response".
fn is_in_wanted_language(stored_fields: &impl Fields, request: &impl Fields) -> bool {
    let (Some(language), Some(accepted)) = (stored_fields.get("content-language"), request.get("accept-language"))
    else {
        return false;
    };
    let language = language.trim().to_ascii_lowercase();
    let Some(wanted) = list(&accepted).map(weighted).collect::<Option<Vec<_>>>() else { return false };
    let most = wanted.iter().map(|(_, weight)| *weight).max().unwrap_or(0);
    most > 0
        && language::is_language_tag(&language)
        && wanted.iter().all(|(name, weight)| (*weight == most) == (*name == language))
}
