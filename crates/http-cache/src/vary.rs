//! Whether a kept answer is the one that a request asks for (RFC 9111 §4.1).

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use http_semantics::fields::{Fields, is_name, list};
use http_semantics::language;
use http_semantics::weight;

/// What `Vary` says (RFC 9110 §12.5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vary {
    /// The answer is the same for all requests.
    Nothing,
    /// Something beyond the request's fields: no other request is known to get it.
    Star,
    /// These fields of the request: in lower case, sorted, each once.
    Names(Vec<String>),
}

impl Vary {
    /// Reads the field. A member that is no field name tells that the answer varies, but not by what: as `*`.
    #[must_use]
    pub fn parse(field: Option<&str>) -> Self {
        let mut names: Vec<String> = list(field.unwrap_or_default()).map(str::to_ascii_lowercase).collect();
        // `*` would be a name, too.
        if names.iter().any(|name| name == "*" || !is_name(name)) {
            return Self::Star;
        }
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { Self::Nothing } else { Self::Names(names) }
    }
}

/// Names of request fields, and for each a hash of its normalised value: values can be secrets. `-` where the request lacks it.
pub type Selecting = Vec<(String, String)>;

/// For a field that the request lacks. No hash is as short.
const ABSENT: &str = "-";

/// What a request has of these fields.
#[must_use]
pub fn selecting(names: &[String], request: &impl Fields) -> Selecting {
    names.iter().map(|name| (name.clone(), selector(name, request))).collect()
}

/// True where a request asks for what was kept under `selecting`: each field matches that of the request it was kept for
/// (RFC 9111 §4.1). Another `Accept-Language` matches, too, where the kept answer is in the one language it wants most.
#[must_use]
pub fn matches(selecting: &Selecting, stored_fields: &impl Fields, request: &impl Fields) -> bool {
    selecting.iter().all(|(name, hash)| {
        selector(name, request) == *hash || (name == "accept-language" && is_in_wanted_language(stored_fields, request))
    })
}

fn selector(name: &str, request: &impl Fields) -> String {
    request.get(name).map_or_else(|| ABSENT.to_owned(), |value| hash(&normalised(name, &value)))
}

/// 16 bytes of SHA-256 in 22 characters.
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

/// The value in a form that all values of the same meaning share, as far as the field's specification says so (RFC 9111 §4.1).
fn normalised(name: &str, value: &str) -> String {
    // RFC 9110 §12.5.1 to §12.5.4: no order but that of the weights. Names of media types, charsets, codings and languages have
    // no case (§8.3.1, §8.3.2, §8.4.1, §8.5.1).
    let member: fn(&str) -> Option<String> = match name {
        "accept" => media_range,
        "accept-encoding" => coding,
        "accept-charset" | "accept-language" => |member| weighted(member).map(|(name, weight)| written(name, weight)),
        _ => return joined(value),
    };
    let Some(members) = split(value, ',') else { return joined(value) };
    let members = members.into_iter().map(trimmed).filter(|member| !member.is_empty());
    // A member that cannot be read stays as it is.
    let mut members: Vec<String> = members.map(|raw| member(raw).unwrap_or_else(|| raw.to_owned())).collect();
    members.sort_unstable();
    members.dedup();
    members.join(",")
}

/// Without white space at the ends and around commas, except within quotes.
fn joined(value: &str) -> String {
    match split(trimmed(value), ',') {
        Some(members) => members.into_iter().map(trimmed).collect::<Vec<_>>().join(","),
        None => trimmed(value).to_owned(),
    }
}

/// Without the white space that a list allows (RFC 9110 §5.6.3), and no other.
fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// The parts between separators that stand outside of quoted strings (RFC 9110 §5.6.4); `None` where a quote is not closed.
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

/// `gzip;q=0.5` (RFC 9110 §12.5.3). §8.4.1: `x-gzip` and `x-compress` are `gzip` and `compress`.
fn coding(member: &str) -> Option<String> {
    let (name, weight) = weighted(member)?;
    let name = match name.as_str() {
        "x-gzip" => "gzip".to_owned(),
        "x-compress" => "compress".to_owned(),
        _ => name,
    };
    Some(written(name, weight))
}

/// A name in lower case and its weight; `None` where there is anything else.
fn weighted(member: &str) -> Option<(String, u16)> {
    let (name, weight) = match member.split_once(';') {
        Some((name, parameter)) => (name.trim(), weight::parse(parameter)?),
        None => (member.trim(), 1000),
    };
    is_name(name).then(|| (name.to_ascii_lowercase(), weight))
}

/// `text/html;level=1;q=0.5` (RFC 9110 §12.5.1). What case means in a parameter's value is unknown.
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

/// The one form of a weight: without zeros that mean nothing, and 1 not at all (RFC 9110 §12.4.2).
fn written(mut name: String, weight: u16) -> String {
    if weight < 1000 {
        name.push_str(format!(";q=0.{weight:03}").trim_end_matches('0').trim_end_matches('.'));
    }
    name
}

/// True where `Content-Language` is exactly the language that the request wants more than any other. RFC 9111 §4.1: a "known
/// mechanism for ranking preference … MAY be used to choose a preferred response".
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
