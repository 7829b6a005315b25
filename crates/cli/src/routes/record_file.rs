//! The three formats of a file with records of storefronts.

use kv_store::json_tree::{JsonTree, member_path, repeated};
use serde_json::Value;

use crate::validation_report::Finding;

/// A record and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordEntry {
    /// `None` if the file is a single record.
    pub(super) key: Option<String>,
    /// The record as KV would hold it.
    pub(super) json: String,
    /// The paths of members that occur more than once.
    pub(super) repeated: Vec<String>,
}

/// The contents of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RecordFile {
    pub(super) list: Vec<RecordEntry>,
    /// Problems outside of the records.
    pub(super) faults: Vec<Finding>,
    /// How many entries the file has, including those that cannot be read.
    pub(super) count: usize,
}

impl RecordFile {
    /// Splits a file into records. It is a single record, an object of keys and records, or the
    /// array that `wrangler kv bulk put` accepts.
    pub(super) fn of(tree: &JsonTree) -> Self {
        match tree {
            JsonTree::Array(elements) => Self::of_bulk(elements),
            JsonTree::Object(members) if is_record(members) => Self::of_record(tree),
            JsonTree::Object(members) => Self::of_map(tree, members),
            JsonTree::Scalar(_) => {
                let problem = "it must be a record, an object of keys and records, or the array that `wrangler kv bulk put` \
                     accepts";
                Self { faults: vec![Finding::of_file("", problem)], ..Self::default() }
            }
        }
    }

    /// Reads a file as a single record, whatever it looks like.
    pub(super) fn of_record(tree: &JsonTree) -> Self {
        let entry = RecordEntry { key: None, json: tree.to_json(), repeated: tree.repeated(usize::MAX) };
        Self { list: vec![entry], faults: Vec::new(), count: 1 }
    }

    fn of_map(tree: &JsonTree, members: &[(String, JsonTree)]) -> Self {
        let mut entries = Self { count: members.len(), ..Self::default() };
        entries.faults.extend(tree.repeated_names().map(repeated_key));
        for (key, record) in members {
            if let JsonTree::Object(_) = record {
                let (json, repeated) = (record.to_json(), record.repeated(usize::MAX));
                entries.list.push(RecordEntry { key: Some(key.clone()), json, repeated });
            } else {
                let problem = r#"it must be a record, a JSON object such as {"origin": "https://shop.example.com"}"#;
                entries.faults.push(Finding::of_record(Some(key), "", problem));
            }
        }
        entries
    }

    fn of_bulk(elements: &[JsonTree]) -> Self {
        let mut entries = Self { count: elements.len(), ..Self::default() };
        for (index, element) in elements.iter().enumerate() {
            match of_bulk_element(element, &format!("[{index}]")) {
                Ok(entry) => entries.list.push(entry),
                Err(fault) => entries.faults.push(fault),
            }
        }
        let keys = entries.list.iter().filter_map(|entry| entry.key.as_deref());
        entries.faults.extend(repeated(keys).map(repeated_key));
        entries
    }
}

fn repeated_key(key: &str) -> Finding {
    Finding::of_record(Some(key), "", "the file has this key more than once; only the last one counts")
}

/// Reads one element of the array.
fn of_bulk_element(element: &JsonTree, path: &str) -> Result<RecordEntry, Finding> {
    let fault = |name, problem| Err(Finding::of_file(&member_path(path, name), problem));
    if !matches!(element, JsonTree::Object(_)) {
        let problem = r#"it must be an object such as {"key": "storefrontA", "value": "…"}"#;
        return Err(Finding::of_file(path, problem));
    }
    if let Some(name) = element.repeated_names().next() {
        return fault(name, "it occurs more than once");
    }
    let Some(key) = element.member("key").and_then(JsonTree::as_text) else {
        return fault("key", "it is missing, or is not a string");
    };
    if element.member("base64") == Some(&JsonTree::Scalar(Value::Bool(true))) {
        return fault("base64", "base64 is not supported; write the record as JSON text and leave base64 out");
    }
    let Some(json) = element.member("value").and_then(JsonTree::as_text) else {
        return fault("value", "it is missing, or is not a string; write the record as JSON text");
    };
    // The parser of records reports a text that is not JSON.
    let repeated = JsonTree::parse(json).map(|record| record.repeated(usize::MAX)).unwrap_or_default();
    Ok(RecordEntry { key: Some(key.to_owned()), json: json.to_owned(), repeated })
}

/// Returns true for the members of a record, false for keys with records. A key may have the name
/// of a member, so the type of the value must match, too. An object that contains no object is
/// rather a record with misspelt members.
fn is_record(members: &[(String, JsonTree)]) -> bool {
    let has = |value: &JsonTree, names: &[&str]| names.iter().any(|name| value.member(name).is_some());
    let fits = |(name, value): &(String, JsonTree)| match (name.as_str(), value) {
        ("origin" | "active" | "storefront" | "fallback", JsonTree::Scalar(Value::String(_)))
        | ("timeoutMs", JsonTree::Scalar(Value::Number(_)))
        | ("routes" | "variants", JsonTree::Array(_)) => true,
        ("split", object) => has(object, &["by"]),
        ("headers", object) => has(object, &["request", "response"]),
        ("access", object) => has(object, &["allow", "deny"]),
        ("fallback", object) => has(object, &["asset"]),
        _ => false,
    };
    let is_misspelt = !members.is_empty() && !members.iter().any(|(_, value)| matches!(value, JsonTree::Object(_)));
    members.iter().any(fits) || is_misspelt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> (Vec<Option<String>>, Vec<String>) {
        let entries = RecordFile::of(&JsonTree::parse(json).unwrap());
        let keys = entries.list.into_iter().map(|entry| entry.key).collect();
        (keys, entries.faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_object_with_a_member_of_a_record_or_without_an_object_is_one_record() {
        for json in [
            r#"{"origin": "https://a.example"}"#,
            r#"{"routes": []}"#,
            r#"{"variants": [], "a": {}}"#,
            r#"{"storefront": "a"}"#,
            r#"{"active": "blue"}"#,
            r#"{"timeoutMs": 5}"#,
            r#"{"fallback": "https://a.example"}"#,
            r#"{"fallback": {"asset": "a.html"}}"#,
            r#"{"split": {"by": "cookie"}}"#,
            r#"{"headers": {"request": {}}}"#,
            r#"{"access": {"deny": {}}}"#,
            r#"{"orgin": "https://a.example"}"#,
            r#"{"origin": 5}"#,
        ] {
            assert_eq!(read(json), (vec![None], Vec::new()), "{json}");
        }
    }

    #[test]
    fn a_key_may_be_called_like_a_member_of_a_record() {
        for key in ["origin", "routes", "split", "headers", "access", "fallback", "storefront"] {
            let json = format!(r#"{{"{key}": {{"origin": "https://a.example"}}}}"#);
            assert_eq!(read(&json), (vec![Some(key.to_owned())], Vec::new()), "{json}");
        }
        assert_eq!(read("{}"), (Vec::new(), Vec::new()));
    }

    #[test]
    fn keys_keep_the_order_of_the_file_and_what_is_no_record_is_reported() {
        let (keys, faults) = read(r#"{"b": {}, "a": {}, "b": {}, "c": 1}"#);
        assert_eq!(keys, ["b", "a", "b"].map(|key| Some(key.to_owned())));
        let [twice, no_record] = faults.as_slice() else { panic!("{faults:?}") };
        assert!(twice.starts_with("b: the file has this key more than once"), "{twice}");
        assert!(no_record.starts_with("c: it must be a record"), "{no_record}");
    }

    #[test]
    fn the_array_of_bulk_put_holds_each_record_as_text() {
        let json = r#"[{"key": "a", "value": "{\"origin\": 1}", "metadata": {"b": 1}, "expiration_ttl": 60, "base64": false}]"#;
        let entries = RecordFile::of(&JsonTree::parse(json).unwrap());
        let entry = RecordEntry { key: Some("a".into()), json: r#"{"origin": 1}"#.into(), repeated: Vec::new() };
        assert_eq!(entries, RecordFile { list: vec![entry], faults: Vec::new(), count: 1 });
        for (element, expected) in [
            ("1", "[0]: it must be an object"),
            ("{}", "[0].key: it is missing"),
            (r#"{"key": 1}"#, "[0].key: it is missing"),
            (r#"{"key": "a"}"#, "[0].value: it is missing"),
            (r#"{"key": "a", "value": {"origin": "https://a.example"}}"#, "[0].value: it is missing"),
            (r#"{"key": "a", "value": "e30=", "base64": true}"#, "[0].base64: base64 is not supported"),
            (r#"{"key": "a", "key": "b", "value": "{}"}"#, "[0].key: it occurs more than once"),
            (r#"{"key": "a", "x y": "b", "x y": "{}"}"#, "[0][\"x y\"]: it occurs more than once"),
            (
                r#"{"key": "a", "value": "1"}, {"key": "a", "value": "2"}, {"key": "a", "value": "3"}"#,
                "a: the file has this key more than once",
            ),
        ] {
            let (_, faults) = read(&format!("[{element}]"));
            assert!(faults.len() == 1 && faults[0].starts_with(expected), "{element}: {faults:?}");
        }
    }

    #[test]
    fn neither_a_text_nor_a_number_holds_records() {
        for json in ["1", "null", "true", "\"https://a.example\""] {
            let (keys, faults) = read(json);
            assert!(keys.is_empty() && faults.len() == 1, "{json}");
        }
    }
}
