//! Which valid definitions cause warnings.

use serde_json::{Value, json};

use crate::flags::Definitions;

fn warnings(flag: &Value) -> Vec<String> {
    let definitions = Definitions::parse(&json!({"flags": {"x": flag}}).to_string()).unwrap();
    definitions.warnings().iter().map(ToString::to_string).collect()
}

fn warnings_of_rules(rules: &Value) -> Vec<String> {
    let strip = |warning: String| warning.strip_prefix("flags.x.rules").unwrap_or(&warning).to_owned();
    warnings(&json!({"default": "off", "rules": rules})).into_iter().map(strip).collect()
}

#[test]
fn rules_that_are_never_reached_are_warnings() {
    let pro = json!({"attribute": "plan", "eq": "pro"});
    let not_pro = json!({"attribute": "plan", "eq": "pro", "not": true});
    let old = json!({"attribute": "age", "gt": 60});
    let smaller = "nobody gets it: percentages are not added up, and rules[0] before it has at least this one";
    let never = ": it never applies: rules[0] before it matches all users whom it matches";
    for (rule, rules, expected) in [
        (
            "what is well",
            json!([
                {"deny": ["u"]},
                {"allow": ["t"], "variant": "on"},
                {"match": [pro, old], "variant": "on"},
                {"match": [pro], "variant": "on"},
                {"match": [not_pro], "percentage": 30, "variant": "on"},
                {"percentage": 10, "variant": "on"},
                {"percentage": 20, "variant": "off"},
            ]),
            vec![],
        ),
        (
            "after 100 %",
            json!([{"percentage": 100, "variant": "on"}, {"match": [pro], "variant": "off"}]),
            vec![format!("[1]{never}")],
        ),
        (
            "after itself",
            json!([{"match": [pro], "variant": "on"}, {"match": [pro], "variant": "off"}]),
            vec![format!("[1]{never}")],
        ),
        (
            "after one that asks less",
            json!([{"match": [pro], "variant": "on"}, {"match": [old, pro], "variant": "on"}]),
            vec![format!("[1]{never}")],
        ),
        (
            "after one for more ids",
            json!([{"allow": ["a", "b"], "variant": "on"}, {"allow": ["b"], "percentage": 5, "variant": "on"}]),
            vec![format!("[1]{never}")],
        ),
        (
            "after a deny for them",
            json!([{"deny": ["a", "b"]}, {"allow": ["b"], "variant": "on"}]),
            vec![format!("[1]{never}")],
        ),
        (
            "not for all ids",
            json!([{"allow": ["a", "b"], "variant": "on"}, {"allow": ["b", "c"], "variant": "on"}]),
            vec![],
        ),
        ("not negated", json!([{"match": [pro], "variant": "on"}, {"match": [not_pro], "variant": "on"}]), vec![]),
        (
            "not after a part",
            json!([{"match": [pro], "percentage": 50, "variant": "on"}, {"match": [pro], "variant": "on"}]),
            vec![],
        ),
        (
            "a smaller percentage",
            json!([{"percentage": 25, "variant": "on"}, {"percentage": 10, "variant": "off"}]),
            vec![format!("[1].percentage: {smaller}")],
        ),
        (
            "the same percentage",
            json!([{"percentage": 25, "variant": "on"}, {"percentage": 25, "variant": "off"}]),
            vec![format!("[1].percentage: {smaller}")],
        ),
        (
            "a smaller one of fewer",
            json!([{"percentage": 25, "variant": "on"}, {"match": [pro], "percentage": 10, "variant": "off"}]),
            vec![format!("[1].percentage: {smaller}")],
        ),
        (
            "a smaller one of others",
            json!([{"match": [old], "percentage": 25, "variant": "on"}, {"match": [pro], "percentage": 10, "variant": "off"}]),
            vec![],
        ),
    ] {
        assert_eq!(warnings_of_rules(&rules), expected, "{rule}");
    }
}

#[test]
fn rules_that_match_nobody_or_deny_too_late_are_warnings() {
    let pro = json!({"attribute": "plan", "eq": "pro"});
    for (rule, rules, expected) in [
        ("0 %", json!([{"percentage": 0, "variant": "on"}]), "[0].percentage: it is 0, so the rule matches nobody"),
        (
            "an empty list",
            json!([{"allow": [], "variant": "on"}]),
            "[0].allow: it is empty, so the rule matches nobody",
        ),
        ("an empty deny", json!([{"deny": []}]), "[0].deny: it is empty, so the rule matches nobody"),
        (
            "empty values",
            json!([{"match": [pro, {"attribute": "a", "in": [], "not": true}], "variant": "on"}]),
            "[0].match[1]: its list is empty, so the rule matches nobody",
        ),
        (
            "empty beginnings",
            json!([{"match": [{"attribute": "a", "startsWith": []}], "variant": "on"}]),
            "[0].match[0]: its list is empty, so the rule matches nobody",
        ),
        (
            "a late deny",
            json!([{"deny": ["a"]}, {"percentage": 50, "variant": "on"}, {"deny": ["b"]}]),
            "[2]: it does not deny those whom rules[1] matches; write deny before it",
        ),
    ] {
        assert_eq!(warnings_of_rules(&rules), [expected], "{rule}");
    }
}

#[test]
fn a_variant_that_nobody_gets_is_a_warning() {
    let variants = json!({"a": 1, "b": 2, "c d": 3, "e": 4});
    let flag = json!({"variants": variants, "default": "a", "off": "b", "rules": [{"percentage": 0, "variant": "e"}]});
    assert_eq!(
        warnings(&flag),
        [
            "flags.x.rules[0].percentage: it is 0, so the rule matches nobody",
            "flags.x.variants[\"c d\"]: nobody gets it",
            "flags.x.variants.e: nobody gets it",
        ]
    );
    assert!(warnings(&json!({"default": "off"})).is_empty());
    let definitions =
        Definitions::parse(r#"{"flags": {"a-b": {"variants": {"a": 1, "b": 2}, "default": "a"}}}"#).unwrap();
    assert_eq!(definitions.warnings()[0].to_string(), "flags[\"a-b\"].variants.b: nobody gets it");
}
