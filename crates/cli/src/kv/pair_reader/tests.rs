use std::io::{BufReader, Cursor};

use kv_store::record::to_json;
use proptest::prelude::*;

use super::*;
use crate::api::NamespaceKey;
use crate::kv::export::ExportFormat;

fn read(text: &[u8], buffer: usize, position: InputPosition) -> Result<Vec<InputPair>, InputPairError> {
    let rest = &text[usize::try_from(position.offset).unwrap()..];
    PairReader::new(BufReader::with_capacity(buffer, Cursor::new(rest)), position).collect()
}

fn from_start(text: &str) -> Result<Vec<KeyValuePair>, InputPairError> {
    let inputs = read(text.as_bytes(), 7, InputPosition::START)?;
    Ok(inputs.into_iter().map(|input| input.pair).collect())
}

/// Returns JSON with white space between the tokens, and the same without.
fn any_json() -> impl Strategy<Value = (String, String)> {
    let string = prop_oneof![".{0,9}".prop_map(|text| to_json(&text)), Just(r#""\u00e9\ud800 \/\\\"""#.to_owned())];
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?";
    let scalar = prop_oneof![string.clone(), number, Just("null".to_owned()), Just("true".to_owned())];
    scalar.prop_map(|json| (json.clone(), json)).prop_recursive(3, 16, 4, move |inner| {
        let member = (string.clone(), inner.clone())
            .prop_map(|(name, (spaced, tight))| (format!("{name} :\t{spaced}"), format!("{name}:{tight}")));
        let list = |begin, items, end| {
            proptest::collection::vec(items, 0..4).prop_map(move |items: Vec<(String, String)>| {
                let (spaced, tight): (Vec<_>, Vec<_>) = items.into_iter().unzip();
                (format!("{begin}\n{}\r\n {end}", spaced.join(" , ")), format!("{begin}{}{end}", tight.join(",")))
            })
        };
        prop_oneof![list('{', member.boxed(), '}'), list('[', inner.boxed(), ']')]
    })
}

fn any_metadata() -> impl Strategy<Value = Option<MetadataJson>> {
    // The API takes null for no metadata.
    any_json().prop_map(|(_, json)| MetadataJson::parse(&json).ok().filter(|_| json != "null"))
}

fn any_pair() -> impl Strategy<Value = KeyValuePair> {
    let key = prop_oneof!["[^.]\\PC{0,9}", "[/%?#\\\\\"{}\\[\\]\n\u{0}é\u{1F600}]{1,9}"];
    let value = prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), ".{0,20}".prop_map(String::into_bytes)];
    let expiration = proptest::option::of(any::<u32>().prop_map(|seconds| PairExpiration::At(seconds.into())));
    (key, value, any_metadata(), expiration).prop_map(|(key, value, metadata, expiration)| KeyValuePair {
        key,
        value,
        metadata,
        expiration,
    })
}

proptest! {
    #[test]
    fn metadata_keep_every_digit_and_the_order_of_their_members((spaced, tight) in any_json()) {
        let json = format!(r#"{{"key": "a", "value": "", "metadata": [{spaced}]}}"#);
        let expected = format!(r#"{{"key":"a","value":"","metadata":[{tight}]}}"#);
        prop_assert_eq!(from_start(&json).unwrap()[0].to_readable_json(), expected);
        let listed: NamespaceKey = serde_json::from_str(&format!(r#"{{"name": "a", "metadata": {spaced}}}"#)).unwrap();
        prop_assert_eq!(listed.metadata.map_or("null".to_owned(), |metadata| metadata.as_str().to_owned()), tight);
    }

    #[test]
    fn what_is_exported_is_read_again_in_both_formats(
        pairs in proptest::collection::vec(any_pair(), 0..12), buffer in 1_usize..200
    ) {
        for format in [ExportFormat::Ndjson, ExportFormat::Json] {
            let text = format.write_all(&pairs);
            let inputs = read(&text, buffer, InputPosition::START).unwrap();
            let read_pairs: Vec<_> = inputs.iter().map(|input| &input.pair).collect();
            prop_assert_eq!(read_pairs, pairs.iter().collect::<Vec<_>>());
            // Reading continues after each pair.
            for (at, input) in inputs.iter().enumerate() {
                let rest = read(&text, buffer, input.end).unwrap();
                prop_assert_eq!(&rest[..], &inputs[at + 1..]);
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_off_within_a_pair_or_an_array_is_an_error(
        pairs in proptest::collection::vec(any_pair(), 1..4), cut in 1_usize..400
    ) {
        let text = ExportFormat::Json.write_all(&pairs);
        let cut = &text[..text.len().saturating_sub(2 + cut % (text.len() - 2)).max(1)];
        prop_assert!(read(cut, 50, InputPosition::START).is_err());
        let text = ExportFormat::Ndjson.write_all(&pairs);
        // Without the line feed and the closing brace.
        prop_assert!(read(&text[..text.len() - 2], 50, InputPosition::START).is_err());
    }

    #[test]
    fn no_input_makes_it_panic(text in "[\\[\\]{},\" a\\\\\n]{0,40}") {
        let _read = from_start(&text);
    }
}

#[test]
fn the_array_of_wrangler_is_read() {
    let text = r#" [ {"key": "a", "value": "1", "expiration_ttl": 60},
        {"key": "b", "value": "/w==", "base64": true, "expiration": 5, "metadata": {"x": 1}} ] "#;
    let pairs = from_start(text).unwrap();
    assert_eq!(pairs[0].expiration, Some(PairExpiration::In(60)));
    assert_eq!((pairs[1].value.as_slice(), pairs[1].expiration), (&[0xFF][..], Some(PairExpiration::At(5))));
    assert_eq!(pairs[1].metadata, MetadataJson::parse(r#"{"x":1}"#).ok());
    for empty in ["", " \n", "[]", " [ ]\n"] {
        assert_eq!(from_start(empty).unwrap(), [], "{empty:?}");
    }
}

#[test]
fn an_error_names_the_line_and_the_problem() {
    let good = r#"{"key": "a", "value": "1"}"#;
    for (text, line, problem) in [
        (format!("{good}\n{{\"key\": \"a\"}}"), 2, "missing field `value`"),
        (format!("{good}\n\n[]"), 3, "a line must be a JSON object"),
        (format!("[{good}\n{good}]"), 2, "a comma must stand between"),
        (format!("[{good},\n]"), 2, "an item of the array must be a JSON object"),
        (format!("[{good}"), 1, "the array is not closed"),
        (format!("[{good}]\n{good}"), 2, "something follows the array"),
        (good[..20].to_owned(), 1, "the pair is cut off"),
        ("\u{FEFF}{}".to_owned(), 1, "it starts with a byte order mark"),
        (r#"{"key": "a", "value": 1}"#.to_owned(), 1, "invalid type"),
        (r#"{"key": "a", "value": "1", "ttl": 60}"#.to_owned(), 1, "unknown field `ttl`"),
        (r#"{"key": "a", "value": "é", "base64": true}"#.to_owned(), 1, "the value of \"a\" is not base64"),
        (r#"{"key": "..", "value": ""}"#.to_owned(), 1, "\"..\": The key is"),
        (r#"{"key": "a", "value": "", "expiration_ttl": 5}"#.to_owned(), 1, "\"a\": it expires 5 seconds"),
    ] {
        let error = from_start(&text).unwrap_err();
        assert!(error.line == line && error.problem.starts_with(problem), "{text}: {error:?}");
    }
}

#[test]
fn an_error_is_the_last_item() {
    let good = r#"{"key": "a", "value": "1"}"#;
    for (text, items) in [
        (format!("{good}\n{{}}\n{good}"), 2),
        (format!("{good}\n7\n{good}"), 2),
        (format!("[{good}, {{}}, {good}]"), 2),
        (format!("[{good} {good}]"), 2),
        (format!("[{good}"), 2),
        (good[..20].to_owned(), 1),
    ] {
        let inputs: Vec<_> = PairReader::new(text.as_bytes(), InputPosition::START).take(9).collect();
        assert_eq!((inputs.len(), inputs.iter().position(Result::is_err)), (items, Some(items - 1)), "{text}");
    }
}
