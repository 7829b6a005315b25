//! For which attributes each operator holds, negated or not.

use kv_store::schema::Fault;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::flags::parse::OPERATORS;
use crate::flags::{Definitions, Subject, UserAttributes};

/// Parses a flag whose only rule has this condition, on the attribute `a`.
fn definitions(condition: &Value) -> Result<Definitions, Vec<Fault>> {
    let mut condition = condition.clone();
    condition["attribute"] = json!("a");
    let flags = json!({"flags": {"x": {"default": "off", "rules": [{"match": [condition], "variant": "on"}]}}});
    Definitions::parse(&flags.to_string())
}

/// Returns true if a rule with this condition matches a user with this attribute `a`, or
/// without it.
fn holds(condition: &Value, attribute: Option<&Value>) -> bool {
    let definitions = definitions(condition).unwrap();
    let context: Map<String, Value> = attribute.into_iter().map(|value| ("a".to_owned(), value.clone())).collect();
    let subject = Subject { targeting_key: None, context: &context, record: UserAttributes::NoRecord };
    definitions.get("x").unwrap().evaluate("x", &subject).unwrap().variant == "on"
}

/// A condition, the attributes for which it holds, those for which it does not, and those of
/// another type.
type OperatorCase = (Value, Value, Value, Value);

fn check(cases: &[OperatorCase]) {
    for (condition, yes, no, mistyped) in cases {
        let mut negated = condition.clone();
        negated["not"] = json!(true);
        let mut affirmed = condition.clone();
        affirmed["not"] = json!(false);
        for (attributes, expected) in [(yes, (true, false)), (no, (false, true)), (mistyped, (false, false))] {
            for attribute in attributes.as_array().unwrap() {
                let attribute = Some(attribute);
                let outcome = (holds(condition, attribute), holds(&negated, attribute));
                assert_eq!(outcome, expected, "{condition} for {attribute:?}, and negated");
                assert_eq!(holds(&affirmed, attribute), expected.0, "{affirmed} for {attribute:?}");
            }
        }
        assert!(!holds(condition, None) && !holds(&negated, None), "{condition} without the attribute");
        assert!(!holds(&negated, Some(&json!({"b": 1}))), "{negated} for an object");
    }
}

#[test]
fn an_operator_holds_only_for_values_of_its_type() {
    let two_to_53 = 9_007_199_254_740_992_u64;
    check(&[
        (json!({"eq": "pro"}), json!(["pro"]), json!(["Pro", "pro ", ""]), json!([1, true, null])),
        (json!({"eq": ""}), json!([""]), json!(["a"]), json!([0, false, null])),
        (json!({"eq": 1}), json!([1, 1.0]), json!([2, 1.1, -1]), json!(["1", true])),
        (json!({"eq": 1.0}), json!([1, 1.0]), json!([2]), json!(["1.0"])),
        (json!({"eq": 0.1}), json!([0.1]), json!([0.2, 0]), json!([[0.1]])),
        (json!({"eq": -0.0}), json!([0, 0.0]), json!([1]), json!([""])),
        (json!({"eq": two_to_53}), json!([9_007_199_254_740_992.0]), json!([9_007_199_254_740_993_u64]), json!([])),
        (json!({"eq": u64::MAX}), json!([u64::MAX]), json!([1.844_674_407_370_955_2e19, -1]), json!([])),
        (json!({"eq": 1e300}), json!([1e300]), json!([1e299, u64::MAX]), json!([])),
        (json!({"eq": true}), json!([true]), json!([false]), json!(["true", 1, null])),
        (json!({"eq": false}), json!([false]), json!([true]), json!(["false", 0])),
        (json!({"eq": null}), json!([null]), json!(["null", 0, false]), json!([{}, []])),
        (json!({"in": ["pro", "team"]}), json!(["pro", "team"]), json!(["free"]), json!([1, ["pro"]])),
        (
            json!({"in": ["b", 2, "a", 1.0, -5, true]}),
            json!(["a", "b", 1, 2.0, -5, true]),
            json!(["c", 3, false]),
            json!([null, {"a": 1}]),
        ),
        (json!({"in": ["a", null]}), json!(["a", null]), json!(["b", 1, true]), json!([[]])),
        (json!({"in": []}), json!([]), json!([]), json!(["a", 1, null])),
    ]);
}

#[test]
fn texts_are_compared_from_their_beginning_and_numbers_by_value() {
    check(&[
        (json!({"startsWith": "ab"}), json!(["ab", "abc"]), json!(["a", "AB", "xab"]), json!([1])),
        (json!({"startsWith": ["a", "é"]}), json!(["abc", "é!"]), json!(["b", "e"]), json!([["a"]])),
        (json!({"startsWith": []}), json!([]), json!([]), json!(["a", "", 1, null])),
        (json!({"lt": 2}), json!([1, 1.999, -1e300]), json!([2, 2.0, 3]), json!(["1"])),
        (json!({"lte": 2}), json!([1, 2, 2.0]), json!([2.001, u64::MAX]), json!([null])),
        (json!({"gt": 2.5}), json!([3, 2.6, 1e300]), json!([2.5, 2, -3]), json!([true])),
        (json!({"gte": 2.5}), json!([2.5, 3]), json!([2.4, i64::MIN]), json!(["3"])),
    ]);
}

#[test]
fn versions_are_compared_by_their_precedence() {
    check(&[
        (
            json!({"semverEq": "2.1.0"}),
            json!(["2.1.0", "v2.1.0", "2.1", "2.1.0+build.7"]),
            json!(["2.1.0-rc.1", "2.1.1"]),
            json!(["2.1.0.0", "two", "", 2.1, null]),
        ),
        (json!({"semverLt": "2.1.0"}), json!(["2.0.9", "2.1.0-rc", "2"]), json!(["2.1.0", "2.10.0"]), json!(["x"])),
        (json!({"semverLte": "v2.1"}), json!(["2.1.0", "2.0.99"]), json!(["2.1.1", "10"]), json!(["1.01.0"])),
        (
            json!({"semverGt": "2.1.0"}),
            json!(["2.1.1", "2.1.1-a", "10.0.0"]),
            json!(["2.1.0", "2.1.0-z"]),
            json!(["-"]),
        ),
        (
            json!({"semverGte": "2.1.0-beta"}),
            json!(["2.1.0", "2.1.0-beta.1"]),
            json!(["2.1.0-alpha", "2"]),
            json!(["v"]),
        ),
    ]);
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,5}".prop_map(Value::from),
    ]
}

proptest! {
    /// The property behind the warning "its list is empty, so the rule matches nobody".
    #[test]
    fn an_empty_list_matches_nobody_negated_or_not(attribute in proptest::option::of(any_scalar())) {
        let mut with_lists = Vec::new();
        for (operator, _) in OPERATORS {
            for is_negated in [false, true] {
                let condition = json!({operator: [], "not": is_negated});
                let Ok(definitions) = definitions(&condition) else { continue };
                let warnings: Vec<String> = definitions.warnings().iter().map(ToString::to_string).collect();
                prop_assert_eq!(
                    warnings,
                    ["flags.x.rules[0].match[0]: its list is empty, so the rule matches nobody"]
                );
                prop_assert!(!holds(&condition, attribute.as_ref()), "{} matches {:?}", condition, attribute);
                with_lists.push(operator);
            }
        }
        prop_assert_eq!(with_lists, ["in", "in", "startsWith", "startsWith"]);
    }
}
