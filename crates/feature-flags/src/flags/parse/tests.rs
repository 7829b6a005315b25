//! The faults of definitions, each with its place, and their limits.

use serde_json::{Value, json};

use crate::flags::Definitions;

fn faults(json: &str) -> Vec<String> {
    Definitions::parse(json).map_or_else(|faults| faults.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// Returns the faults of a flag `x`.
fn faults_of_flag(flag: &Value) -> Vec<String> {
    faults(&json!({"flags": {"x": flag}}).to_string())
}

/// Returns the faults of a flag `x` that has only this rule, without `flags.x.rules[0]`.
fn faults_of_rule(rule: &Value) -> Vec<String> {
    let faults = faults_of_flag(&json!({"default": "off", "rules": [rule]}));
    let strip = |fault: String| {
        let fault = fault.strip_prefix("flags.x.rules[0]").unwrap_or(&fault).to_owned();
        fault.trim_start_matches('.').to_owned()
    };
    faults.into_iter().map(strip).collect()
}

const NO_VARIANT: &str = "it names no variant; there are: off, on";
const OPERATORS: &str = "eq, in, startsWith, lt, lte, gt, gte, semverEq, semverLt, semverLte, semverGt, semverGte";

#[test]
fn the_example_of_the_documentation_is_read() {
    let json = r#"{"$schema": "https://example.com/flags.json", "flags": {
        "new-checkout": {
            "description": "free text",
            "on": true,
            "variants": {"on": true, "off": false},
            "default": "off",
            "off": "off",
            "metadata": {"owner": "shop"},
            "rules": [
                {"deny": ["user-13"]},
                {"allow": ["user-7"], "variant": "on"},
                {"match": [{"attribute": "plan", "in": ["pro", "team"]}, {"attribute": "appVersion", "semverGte": "2.1.0"}],
                 "percentage": 50, "variant": "on"},
                {"percentage": 25, "variant": "on"}
            ]
        }
    }}"#;
    let definitions = Definitions::parse(json).unwrap();
    assert_eq!((definitions.len(), definitions.warnings()), (1, Vec::new()));
    assert_eq!(Definitions::parse(r#"{"flags": {}}"#), Ok(Definitions::none()));
}

#[test]
fn a_text_that_is_no_object_of_flags_is_refused() {
    for (json, expected) in [
        ("", "not a JSON object at line 1, column 1"),
        ("[]", "not a JSON object at line 1, column 1"),
        ("{\n  \"flags\": {,}\n}", "invalid JSON at line 2, column 13"),
        ("{} {}", "invalid JSON at line 1, column 4"),
        ("{}", "flags: it is missing"),
        (r#"{"flags": null}"#, "flags: it must not be null; leave it out"),
        (r#"{"flags": []}"#, "flags: it must be an object"),
        (r#"{"flags": {}, "flag": 1}"#, "flag: unknown member; known: flags"),
        (r#"{"flags": {"x": true}}"#, "flags.x: it must be an object"),
    ] {
        assert_eq!(faults(json), [expected], "{json}");
    }
    let deep = format!("{{\"flags\": {{\"x\": {}1{}}}}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(faults(&deep), ["more than 127 levels at line 1, column 142"]);
    assert_eq!(faults(r#"{"flags": {"x": {"default": 1e999}}}"#), ["a number beyond 1.8e308 at line 1, column 33"]);
}

#[test]
fn a_flags_name_has_up_to_128_letters_digits_dots_underscores_and_hyphens() {
    let problem = "a flag's name has 1 to 128 letters, digits, dots, underscores and hyphens";
    for (name, place) in
        [("", "[\"\"]"), ("a b", "[\"a b\"]"), ("a:b", "[\"a:b\"]"), ("é", "[\"é\"]"), ("$schema", ".$schema")]
    {
        let json = json!({"flags": {name: {"default": "on"}}}).to_string();
        assert_eq!(faults(&json), [format!("flags{place}: {problem}")], "{name}");
    }
    for (length, is_name) in [(128, true), (129, false)] {
        let json = json!({"flags": {"n".repeat(length): {"default": "on"}}}).to_string();
        assert_eq!(faults(&json).is_empty(), is_name, "{length}");
    }
    assert!(faults(r#"{"flags": {"a.B_c-9": {"default": "on"}, ".": {"default": "on"}}}"#).is_empty());
}

#[test]
fn every_fault_of_a_flag_is_named_with_its_place() {
    for (flag, expected) in [
        (json!({}), &["default: it is missing"][..]),
        (json!({"default": "yes"}), &["default: it names no variant; there are: off, on"]),
        (json!({"default": true}), &["default: it must be a string"]),
        (json!({"default": "on", "off": "no"}), &["off: it names no variant; there are: off, on"]),
        (json!({"default": "on", "off": null}), &["off: it must not be null; leave it out"]),
        (json!({"default": "on", "on": "true"}), &["on: it must be true or false"]),
        (
            json!({"default": "on", "enabled": true}),
            &["enabled: unknown member; known: description, on, variants, default, off, metadata, rules"],
        ),
        (json!({"default": "on", "description": 1}), &["description: it must be a string"]),
        (json!({"default": "on", "metadata": []}), &["metadata: it must be an object"]),
        (
            json!({"default": "on", "metadata": {"a": {}, "b": null, "c": [], "d": 1}}),
            &[
                "metadata.a: it must be a string, a number or a boolean",
                "metadata.b: it must be a string, a number or a boolean",
                "metadata.c: it must be a string, a number or a boolean",
            ],
        ),
        (json!({"default": "on", "rules": {}}), &["rules: it must be an array"]),
        (json!({"default": "on", "rules": [1]}), &["rules[0]: it must be an object"]),
        (json!({"default": "a", "variants": []}), &["variants: it must be an object"]),
        (
            json!({"default": "a", "variants": {}}),
            &["variants: it has no variant; leave variants out to get on and off"],
        ),
        (json!({"default": "a", "variants": {"a": null, "b": 1}}), &["variants.a: it must not be null"]),
        (
            json!({"default": "a", "variants": {"a": 1, "": 2}}),
            &["variants[\"\"]: a variant's name has 1 to 128 bytes"],
        ),
        (
            json!({"default": "a", "variants": {"a": true, "b": "true", "c": 1}}),
            &[
                "variants.b: it must be a boolean: all variants of a flag have one type",
                "variants.c: it must be a boolean: all variants of a flag have one type",
            ],
        ),
        (
            json!({"default": "a", "variants": {"a": {}, "b": [], "c": "x"}}),
            &["variants.c: it must be an object or an array: all variants of a flag have one type"],
        ),
        (
            json!({"default": "a", "variants": {"a": "", "b": 0}}),
            &["variants.b: it must be a string: all variants of a flag have one type"],
        ),
        (
            json!({"default": "a", "variants": {"a": 0, "b": 0.5, "c": false}}),
            &["variants.c: it must be a number: all variants of a flag have one type"],
        ),
        // An invalid variant still has a name, so that only its own fault is reported.
        (
            json!({"default": "b", "variants": {"a": 1, "b": null}, "rules": [{"percentage": 1, "variant": "c"}]}),
            &["variants.b: it must not be null", "rules[0].variant: it names no variant; there are: a, b"],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|fault| format!("flags.x.{fault}")).collect();
        assert_eq!(faults_of_flag(&flag), expected, "{flag}");
    }
}

#[test]
fn every_fault_of_a_rule_is_named_with_its_place() {
    let only = "a rule with deny has nothing else but a variant";
    for (rule, expected) in [
        (json!({"variant": "on"}), &[": it needs allow, match or percentage (or deny)".to_owned()][..]),
        (json!({"allow": ["u"]}), &["variant: it is missing".to_owned()]),
        (json!({"allow": ["u"], "variant": "yes"}), &[format!("variant: {NO_VARIANT}")]),
        (json!({"allow": "u", "variant": "on"}), &["allow: it must be an array".to_owned()]),
        (
            json!({"allow": ["u", 7, ""], "variant": "on"}),
            &["allow[1]: it must be a string".to_owned(), "allow[2]: it must not be empty".to_owned()],
        ),
        (json!({"deny": ["u"], "variant": "yes"}), &[format!("variant: {NO_VARIANT}")]),
        (json!({"deny": null}), &["deny: it must not be null; leave it out".to_owned()]),
        (
            json!({"deny": ["u"], "allow": ["t"], "match": [], "percentage": null, "variant": "on"}),
            &[
                format!("allow: {only}"),
                format!("match: {only}"),
                format!("percentage: {only}"),
                "match: it has no condition".to_owned(),
                "percentage: it must not be null; leave it out".to_owned(),
            ],
        ),
        (
            json!({"percentage": 1, "variant": "on", "weight": 1}),
            &["weight: unknown member; known: deny, allow, match, percentage, variant".to_owned()],
        ),
        (json!({"match": {}, "variant": "on"}), &["match: it must be an array".to_owned()]),
        (json!({"match": [], "variant": "on"}), &["match: it has no condition".to_owned()]),
        (json!({"match": ["x"], "variant": "on"}), &["match[0]: it must be an object".to_owned()]),
    ] {
        assert_eq!(faults_of_rule(&rule), expected, "{rule}");
    }
    for percentage in [json!(-1), json!(100.001), json!(0.0005), json!("50"), json!(true), json!([])] {
        let fault = "percentage: it must be a number from 0 to 100 with three decimals at most";
        assert_eq!(faults_of_rule(&json!({"percentage": percentage, "variant": "on"})), [fault], "{percentage}");
    }
    for percentage in [json!(0), json!(100), json!(33.333), json!(1e1), json!(0.001)] {
        assert!(faults_of_rule(&json!({"percentage": percentage, "variant": "on"})).is_empty(), "{percentage}");
    }
}

#[test]
fn a_fault_of_a_condition_is_named_with_its_place() {
    let scalar = "it must be a string, a number, a boolean or null";
    let version = "it must be a version such as 2.1.0 (Semantic Versioning 2.0.0)";
    for (condition, expected) in [
        (json!({"eq": 1}), "attribute: it is missing".to_owned()),
        (json!({"attribute": 1, "eq": 1}), "attribute: it must be a string".to_owned()),
        (json!({"attribute": "", "eq": 1}), "attribute: it must not be empty".to_owned()),
        (json!({"attribute": "a"}), format!(": it needs one of {OPERATORS}")),
        (json!({"attribute": "a", "not": true}), format!(": it needs one of {OPERATORS}")),
        (json!({"attribute": "a", "gt": 1, "lt": 3}), ": it has both lt and gt; write a condition for each".to_owned()),
        (json!({"attribute": "a", "eq": 1, "not": "true"}), "not: it must be true or false".to_owned()),
        (
            json!({"attribute": "a", "eq": 1, "ne": 1}),
            format!("ne: unknown member; known: attribute, not, {OPERATORS}"),
        ),
        (json!({"attribute": "a", "eq": {}}), format!("eq: {scalar}")),
        (json!({"attribute": "a", "eq": ["b"]}), format!("eq: {scalar}")),
        (json!({"attribute": "a", "in": "b"}), "in: it must be an array".to_owned()),
        (json!({"attribute": "a", "in": null}), "in: it must be an array".to_owned()),
        (json!({"attribute": "a", "in": ["b", ["c"]]}), format!("in[1]: {scalar}")),
        (json!({"attribute": "a", "startsWith": 1}), "startsWith: it must be a string or a list of strings".to_owned()),
        (json!({"attribute": "a", "startsWith": ""}), "startsWith: it must not be empty".to_owned()),
        (json!({"attribute": "a", "startsWith": ["b", ""]}), "startsWith[1]: it must not be empty".to_owned()),
        (json!({"attribute": "a", "startsWith": ["b", 1]}), "startsWith[1]: it must be a string".to_owned()),
        (json!({"attribute": "a", "lt": "1"}), "lt: it must be a number".to_owned()),
        (json!({"attribute": "a", "lte": null}), "lte: it must be a number".to_owned()),
        (json!({"attribute": "a", "gt": true}), "gt: it must be a number".to_owned()),
        (json!({"attribute": "a", "gte": []}), "gte: it must be a number".to_owned()),
        (json!({"attribute": "a", "semverEq": 2}), "semverEq: it must be a string".to_owned()),
        (json!({"attribute": "a", "semverLt": "two"}), format!("semverLt: {version}")),
        (json!({"attribute": "a", "semverLte": "1.2.3.4"}), format!("semverLte: {version}")),
        (json!({"attribute": "a", "semverGt": ""}), format!("semverGt: {version}")),
        (json!({"attribute": "a", "semverGte": "01.0"}), format!("semverGte: {version}")),
    ] {
        let place = if expected.starts_with(':') { "match[1]" } else { "match[1]." };
        let rule = json!({"match": [{"attribute": "b", "eq": null}, condition], "variant": "on"});
        assert_eq!(faults_of_rule(&rule), [format!("{place}{expected}")], "{condition}");
    }
}

#[test]
fn lists_rules_variants_and_metadata_have_a_largest_length() {
    let many = |count: usize| (0..count).map(|index| index.to_string());
    let ids = |count| json!({"allow": many(count).collect::<Vec<_>>(), "variant": "on"});
    let values = |operator: &str, count| json!({"match": [{"attribute": "a", operator: many(count).collect::<Vec<_>>()}], "variant": "on"});
    let conditions = |count| {
        let list: Vec<Value> = many(count).map(|index| json!({"attribute": "a", "eq": index})).collect();
        json!({"match": list, "variant": "on"})
    };
    for (most, rule, place) in [
        (10_000, &ids as &dyn Fn(usize) -> Value, "allow"),
        (1000, &|count| values("in", count), "match[0].in"),
        (1000, &|count| values("startsWith", count), "match[0].startsWith"),
        (100, &conditions, "match"),
    ] {
        assert!(faults_of_rule(&rule(most)).is_empty(), "{place}");
        let more = most + 1;
        assert_eq!(
            faults_of_rule(&rule(more)),
            [format!("{place}: it has {more} elements; at most {most} are allowed")]
        );
    }
    let rules = |count| vec![json!({"allow": ["u"], "variant": "on"}); count];
    assert!(faults_of_flag(&json!({"default": "on", "rules": rules(100)})).is_empty());
    let fault = "flags.x.rules: it has 101 elements; at most 100 are allowed";
    assert_eq!(faults_of_flag(&json!({"default": "on", "rules": rules(101)})), [fault]);
    let members = |count| many(count).map(|name| (name, json!(1))).collect::<serde_json::Map<_, _>>();
    for member in ["variants", "metadata"] {
        let flag = |count| {
            let mut flag = json!({"variants": {"0": 1}, "default": "0"});
            flag[member] = Value::Object(members(count));
            flag
        };
        assert!(faults_of_flag(&flag(50)).is_empty());
        let fault = format!("flags.x.{member}: it has 51 members; at most 50 are allowed");
        assert_eq!(faults_of_flag(&flag(51)), [fault]);
    }
    let flags = |count| {
        let flags: serde_json::Map<_, _> = many(count).map(|name| (name, json!({"default": "on"}))).collect();
        faults(&json!({ "flags": flags }).to_string())
    };
    assert!(flags(5000).is_empty());
    assert_eq!(flags(5001), ["flags: it has 5001 members; at most 5000 are allowed"]);
}
