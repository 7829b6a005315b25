//! The bodies of OFREP requests, and the JSON of its responses and errors.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::flags::{Definitions, Subject, UserAttributes};

fn definitions() -> Definitions {
    let json = json!({"flags": {
        "rollout": {"default": "off", "rules": [{"percentage": 100, "variant": "on"}]},
        "color": {"variants": {"the \"red\"\n": "<r\u{e9}d\">"}, "default": "the \"red\"\n", "metadata": {"owner": "shop"}},
        "size": {"variants": {"s": 1.5}, "default": "s"},
        "menu": {"variants": {"m": [{"a": null}]}, "default": "m"},
    }});
    Definitions::parse(&json.to_string()).unwrap()
}

fn read(body: impl AsRef<[u8]>) -> Result<EvaluationContext, (&'static str, String)> {
    parse_request(body.as_ref(), "").map_err(|error| (error.code.as_str(), error.details.into_owned()))
}

#[test]
fn a_context_is_parsed_with_its_targeting_key_and_attributes() {
    for (body, key, attributes) in [
        ("", None, json!({})),
        (" \r\n", None, json!({})),
        ("{}", None, json!({})),
        (r#"{"context": {}, "other": 1}"#, None, json!({})),
        (r#"{"context": {"targetingKey": "u"}}"#, Some("u"), json!({})),
        (r#"{"context": {"targetingKey": ""}}"#, None, json!({})),
        (
            r#"{"context": {"targetingKey": "a/b é\u0000", "plan": "pro", "n": [1]}}"#,
            Some("a/b é\0"),
            json!({"plan": "pro", "n": [1]}),
        ),
        // RFC 8259 §4: names should be unique. The last one counts, as in `JSON.parse`.
        (
            r#"{"context": 1, "context": {"a": 1, "a": 2, "targetingKey": "x", "targetingKey": "y"}}"#,
            Some("y"),
            json!({"a": 2}),
        ),
        (
            r#"{"context": {"n": 1e308, "m": -0, "l": 123456789012345678901234567890}}"#,
            None,
            json!({"n": 1e308, "m": -0.0, "l": 1.234_567_890_123_456_8e29}),
        ),
    ] {
        let expected = EvaluationContext {
            targeting_key: key.map(str::to_owned),
            attributes: attributes.as_object().unwrap().clone(),
        };
        assert_eq!(read(body), Ok(expected), "{body}");
    }
}

#[test]
fn invalid_bodies_are_refused_with_their_place() {
    let nested = |depth: usize| format!("{{\"context\": {{\"a\": {}{}}}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(100)).is_ok());
    for (body, place) in [
        (b"{".to_vec(), "invalid JSON at line 1, column 1"),
        (b"null".to_vec(), "not a JSON object at line 1, column 1"),
        (b"[]".to_vec(), "not a JSON object at line 1, column 1"),
        (b"\"secret\"".to_vec(), "not a JSON object at line 1, column 1"),
        (b"{} {}".to_vec(), "invalid JSON at line 1, column 4"),
        (b"{\"context\": {\"secret\": tru}}".to_vec(), "invalid JSON at line 1, column 27"),
        (b"{\"context\": {\"a\": 1e999}}".to_vec(), "a number beyond 1.8e308 at line 1, column 23"),
        (b"{\"context\": {\"a\": NaN}}".to_vec(), "invalid JSON at line 1, column 19"),
        (
            b"{\"context\": {\"a\": \"\\ud800\"}}".to_vec(),
            "half of a surrogate pair, such as \\ud800 at line 1, column 26",
        ),
        (b"{\"context\": {\"a\": \"\xff\"}}".to_vec(), "invalid JSON at line 1, column 20"),
        (nested(5000).into_bytes(), "more than 127 levels at line 1, column 144"),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(read(&body), Err(("PARSE_ERROR", format!("the body cannot be read: {place}"))), "{text:.60}");
    }
}

#[test]
fn invalid_contexts_are_refused() {
    let key = "the targetingKey cannot be a user's id: ";
    for (context, details) in [
        (json!(null), "the context must be an object".to_owned()),
        (json!([]), "the context must be an object".to_owned()),
        (json!("x"), "the context must be an object".to_owned()),
        (json!({"targetingKey": 7}), "the targetingKey must be a string".to_owned()),
        (json!({"targetingKey": null}), "the targetingKey must be a string".to_owned()),
        (json!({"targetingKey": {}}), "the targetingKey must be a string".to_owned()),
        (json!({"targetingKey": ".."}), format!("{key}The key is \".\" or \"..\", which Workers KV does not accept.")),
        (
            json!({"targetingKey": "u".repeat(513)}),
            format!("{key}The key has 513 bytes; Workers KV accepts 512 at most."),
        ),
    ] {
        assert_eq!(read(json!({"context": context}).to_string()), Err(("INVALID_CONTEXT", details)), "{context}");
    }
}

#[test]
fn one_flag_is_a_result_or_an_error_of_the_protocol() {
    let subject = Subject { targeting_key: Some("u"), context: &Map::new(), record: UserAttributes::NoRecord };
    for (flag, expected) in [
        ("rollout", r#"{"key":"rollout","value":true,"variant":"on","reason":"SPLIT"}"#),
        (
            "color",
            r#"{"key":"color","value":"<réd\">","variant":"the \"red\"\n","reason":"STATIC","metadata":{"owner":"shop"}}"#,
        ),
        ("size", r#"{"key":"size","value":1.5,"variant":"s","reason":"STATIC"}"#),
        ("menu", r#"{"key":"menu","value":[{"a":null}],"variant":"m","reason":"STATIC"}"#),
    ] {
        assert_eq!(single(flag, &definitions(), &subject).as_deref(), Ok(expected));
    }
    let missing = single("none", &definitions(), &subject).unwrap_err();
    assert_eq!((missing.code, missing.status.code()), (ErrorCode::FlagNotFound, 404));
    let nobody = Subject { targeting_key: None, context: &Map::new(), record: UserAttributes::NoRecord };
    let missing = single("rollout", &definitions(), &nobody).unwrap_err();
    assert_eq!((missing.code, missing.status.code()), (ErrorCode::TargetingKeyMissing, 400));
}

#[test]
fn all_flags_are_one_list_with_an_error_in_its_place() {
    let subject = Subject { targeting_key: None, context: &Map::new(), record: UserAttributes::NoRecord };
    let all = bulk(&definitions(), &subject);
    let expected = concat!(
        r#"{"flags":[{"key":"color","value":"<réd\">","variant":"the \"red\"\n","reason":"STATIC","metadata":{"owner":"shop"}},"#,
        r#"{"key":"menu","value":[{"a":null}],"variant":"m","reason":"STATIC"},"#,
        r#"{"key":"rollout","errorCode":"TARGETING_KEY_MISSING","#,
        r#""errorDetails":"the flag is rolled out to a percentage of users; send a targetingKey"},"#,
        r#"{"key":"size","value":1.5,"variant":"s","reason":"STATIC"}]}"#
    );
    assert_eq!(all.json, expected);
    assert_eq!(bulk(&definitions(), &subject), all);
    let none = bulk(&Definitions::none(), &subject);
    assert_eq!(none.json, r#"{"flags":[]}"#);
    assert_ne!(none.etag, all.etag);
}

#[test]
fn a_matching_entity_tag_is_not_modified() {
    let subject = Subject { targeting_key: None, context: &Map::new(), record: UserAttributes::NoRecord };
    let BulkEvaluation { etag, .. } = bulk(&definitions(), &subject);
    assert_eq!(etag.len(), 34);
    for (field, expected) in [
        (Some(etag.clone()), true),
        (Some(format!("W/{etag}")), true),
        (Some(format!("\"a\", {etag}")), true),
        (Some(format!("\"a,\",W/{etag},")), true),
        (Some("*".to_owned()), true),
        (Some("\"a\"".to_owned()), false),
        (Some(String::new()), false),
        (None, false),
    ] {
        assert_eq!(is_not_modified(field.as_deref(), &etag), expected, "{field:?}");
    }
}

#[test]
fn errors_are_json() {
    for (flag, code, details, expected) in [
        (Some("a"), ErrorCode::FlagNotFound, "no", r#"{"key":"a","errorCode":"FLAG_NOT_FOUND","errorDetails":"no"}"#),
        (Some("a\nb"), ErrorCode::General, "", "{\"key\":\"a\\nb\",\"errorCode\":\"GENERAL\",\"errorDetails\":\"\"}"),
        (None, ErrorCode::General, "KV \"x\"", r#"{"errorCode":"GENERAL","errorDetails":"KV \"x\""}"#),
        (
            Some("</script>\"\\\u{0}\u{1f}\u{7f}é"),
            ErrorCode::ParseError,
            "",
            "{\"key\":\"</script>\\\"\\\\\\u0000\\u001f\u{7f}é\",\"errorCode\":\"PARSE_ERROR\",\"errorDetails\":\"\"}",
        ),
    ] {
        assert_eq!(error_json(flag, &OfrepError::of_request(code, details)), expected);
    }
    for (code, name, status) in [
        (ErrorCode::ParseError, "PARSE_ERROR", 400),
        (ErrorCode::TargetingKeyMissing, "TARGETING_KEY_MISSING", 400),
        (ErrorCode::InvalidContext, "INVALID_CONTEXT", 400),
        (ErrorCode::FlagNotFound, "FLAG_NOT_FOUND", 404),
        (ErrorCode::General, "GENERAL", 400),
    ] {
        assert_eq!((code.as_str(), OfrepError::of_request(code, "").status.code()), (name, status));
    }
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body in any::<Vec<u8>>(), text in ".*") {
        let _any = parse_request(&body, "");
        let _any = parse_request(text.as_bytes(), "");
        let context = parse_request(json!({"context": {"targetingKey": "u", "a": text}}).to_string().as_bytes(), "").unwrap();
        prop_assert_eq!(&context.attributes["a"], &json!(text));
    }

    #[test]
    fn every_response_is_json(key in any::<Option<String>>(), flag in any::<String>(), details in any::<String>(), variant in ".{1,30}") {
        let flags = json!({"flags": {
            "a": {"variants": {variant.clone(): {"x": details}}, "default": variant, "metadata": {flag.clone(): details}},
            "b": {"default": "on", "rules": [{"percentage": 50, "variant": "off"}]},
        }});
        let definitions = Definitions::parse(&flags.to_string()).unwrap();
        let subject = Subject { targeting_key: key.as_deref(), context: &Map::new(), record: UserAttributes::NoRecord };
        let all: Value = serde_json::from_str(&bulk(&definitions, &subject).json).unwrap();
        let expected = json!({
            "key": "a", "value": {"x": details}, "variant": variant, "reason": "STATIC", "metadata": {flag.clone(): details},
        });
        prop_assert_eq!(&all["flags"][0], &expected);
        let one: Value = serde_json::from_str(&single("a", &definitions, &subject).unwrap()).unwrap();
        prop_assert_eq!(one, expected);
        let error = error_json(Some(&flag), &OfrepError::of_request(ErrorCode::General, details.clone()));
        let error: Value = serde_json::from_str(&error).unwrap();
        prop_assert_eq!(error, json!({"key": flag, "errorCode": "GENERAL", "errorDetails": details}));
    }
}
