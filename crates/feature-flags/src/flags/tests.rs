//! Which variant a flag gives to whom, and why.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn definitions(flags: &Value) -> Definitions {
    Definitions::parse(&json!({ "flags": flags }).to_string()).unwrap()
}

/// Returns a flag with the string variants `a`, `b` and `c`, and the default `none`.
fn flag(members: &Value) -> Flag {
    let mut flag = json!({"variants": {"a": "A", "b": "B", "c": "C", "none": "NONE"}, "default": "none"});
    flag.as_object_mut().unwrap().append(&mut members.as_object().unwrap().clone());
    definitions(&json!({ "x": flag })).get("x").unwrap().clone()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn chosen(flag: &Flag, key: Option<&str>, context: &Value) -> Result<(String, &'static str), TargetingKeyMissing> {
    let context = object(context);
    let subject = Subject { targeting_key: key, context: &context, record: UserAttributes::NoRecord };
    flag.evaluate("x", &subject).map(|details| (details.variant.to_owned(), details.reason.as_str()))
}

/// Returns a user whose bucket for the flag `x` lies between these percentages.
fn user_between(from: f64, to: f64) -> String {
    let is_between =
        |user: &String| (Bucket::threshold(from)..Bucket::threshold(to)).contains(&Some(Bucket::of("x", user)));
    (0..1000).map(|user| format!("user-{user}")).find(is_between).unwrap()
}

#[test]
fn the_reason_says_what_chose_the_variant() {
    let pro = json!({"plan": "pro"});
    let empty = json!({});
    let is_pro = json!({"attribute": "plan", "eq": "pro"});
    for (rule, members, key, context, expected) in [
        ("no rules", json!({}), None, &empty, ("none", "STATIC")),
        ("an empty list of rules", json!({"rules": []}), None, &empty, ("none", "STATIC")),
        ("off", json!({"on": false, "off": "b"}), None, &empty, ("b", "DISABLED")),
        ("off without a variant for it", json!({"on": false}), None, &empty, ("none", "DISABLED")),
        (
            "off goes before rules",
            json!({"on": false, "rules": [{"allow": ["u"], "variant": "a"}]}),
            Some("u"),
            &empty,
            ("none", "DISABLED"),
        ),
        ("on, with a variant for off", json!({"on": true, "off": "b"}), None, &empty, ("none", "STATIC")),
        (
            "allowed",
            json!({"rules": [{"allow": ["t", "u"], "variant": "a"}]}),
            Some("u"),
            &empty,
            ("a", "TARGETING_MATCH"),
        ),
        ("not allowed", json!({"rules": [{"allow": ["t"], "variant": "a"}]}), Some("u"), &empty, ("none", "DEFAULT")),
        (
            "ids as they are",
            json!({"rules": [{"allow": ["U"], "variant": "a"}]}),
            Some("u"),
            &empty,
            ("none", "DEFAULT"),
        ),
        ("nobody is allowed", json!({"rules": [{"allow": ["u"], "variant": "a"}]}), None, &empty, ("none", "DEFAULT")),
        (
            "an empty key counts as no key",
            json!({"rules": [{"allow": ["u"], "variant": "a"}]}),
            Some(""),
            &empty,
            ("none", "DEFAULT"),
        ),
        (
            "denied: the default, whatever rules follow",
            json!({"rules": [{"deny": ["u"]}, {"allow": ["u"], "variant": "a"}]}),
            Some("u"),
            &empty,
            ("none", "TARGETING_MATCH"),
        ),
        (
            "denied with a variant",
            json!({"rules": [{"deny": ["u"], "variant": "c"}, {"allow": ["u"], "variant": "a"}]}),
            Some("u"),
            &empty,
            ("c", "TARGETING_MATCH"),
        ),
        ("a match", json!({"rules": [{"match": [is_pro], "variant": "a"}]}), None, &pro, ("a", "TARGETING_MATCH")),
        ("no match", json!({"rules": [{"match": [is_pro], "variant": "a"}]}), None, &empty, ("none", "DEFAULT")),
        (
            "all conditions must hold",
            json!({"rules": [{"match": [is_pro, {"attribute": "age", "gt": 3}], "variant": "a"}]}),
            None,
            &pro,
            ("none", "DEFAULT"),
        ),
        (
            "the first rule that holds wins",
            json!({"rules": [{"allow": ["t"], "variant": "a"}, {"match": [is_pro], "variant": "b"}, {"allow": ["u"], "variant": "c"}]}),
            Some("u"),
            &pro,
            ("b", "TARGETING_MATCH"),
        ),
    ] {
        assert_eq!(chosen(&flag(&members), key, context), Ok((expected.0.to_owned(), expected.1)), "{rule}");
    }
}

#[test]
fn a_percentage_that_decides_gives_the_reason_split() {
    let (pro, empty) = (json!({"plan": "pro"}), json!({}));
    let is_pro = json!({"attribute": "plan", "eq": "pro"});
    let (low, high) = (user_between(0.0, 25.0), user_between(25.0, 50.0));
    let (low, high) = (Some(low.as_str()), Some(high.as_str()));
    for (rule, members, key, context, expected) in [
        ("a percentage", json!({"rules": [{"percentage": 25, "variant": "a"}]}), low, &empty, ("a", "SPLIT")),
        ("100 %", json!({"rules": [{"percentage": 100, "variant": "a"}]}), high, &empty, ("a", "SPLIT")),
        (
            "not in the percentage",
            json!({"rules": [{"percentage": 25, "variant": "a"}]}),
            high,
            &empty,
            ("none", "SPLIT"),
        ),
        ("0 %", json!({"rules": [{"percentage": 0, "variant": "a"}]}), low, &empty, ("none", "SPLIT")),
        (
            "percentages of a flag look at the same bucket",
            json!({"rules": [{"percentage": 25, "variant": "a"}, {"percentage": 50, "variant": "b"}]}),
            high,
            &empty,
            ("b", "SPLIT"),
        ),
        (
            "not in the percentage, and then a match",
            json!({"rules": [{"percentage": 25, "variant": "a"}, {"match": [is_pro], "variant": "b"}]}),
            high,
            &pro,
            ("b", "TARGETING_MATCH"),
        ),
        (
            "a percentage that is not reached excludes nobody",
            json!({"rules": [{"match": [is_pro], "percentage": 25, "variant": "a"}]}),
            high,
            &empty,
            ("none", "DEFAULT"),
        ),
        (
            "and needs no key",
            json!({"rules": [{"match": [is_pro], "percentage": 25, "variant": "a"}]}),
            None,
            &empty,
            ("none", "DEFAULT"),
        ),
        (
            "allow, match and percentage all hold",
            json!({"rules": [{"allow": [low], "match": [is_pro], "percentage": 25, "variant": "a"}]}),
            low,
            &pro,
            ("a", "SPLIT"),
        ),
    ] {
        assert_eq!(chosen(&flag(&members), key, context), Ok((expected.0.to_owned(), expected.1)), "{rule}");
    }
}

#[test]
fn a_percentage_that_is_reached_needs_a_targeting_key() {
    for percentage in [0, 50, 100] {
        let flag = flag(&json!({"rules": [{"percentage": percentage, "variant": "a"}]}));
        assert_eq!(chosen(&flag, None, &json!({"targetingKey": "u"})), Err(TargetingKeyMissing));
        assert_eq!(chosen(&flag, Some(""), &json!({})), Err(TargetingKeyMissing));
    }
    let after_a_match = flag(&json!({"rules": [
        {"match": [{"attribute": "plan", "eq": "pro"}], "variant": "b"},
        {"percentage": 50, "variant": "a"},
    ]}));
    assert_eq!(chosen(&after_a_match, None, &json!({"plan": "pro"})), Ok(("b".to_owned(), "TARGETING_MATCH")));
}

#[test]
fn the_record_takes_precedence_over_the_context() {
    let flag =
        |attribute| flag(&json!({"rules": [{"match": [{"attribute": attribute, "eq": "pro"}], "variant": "a"}]}));
    for (rule, attribute, record, context, is_matched) in [
        ("the context alone", "plan", json!({}), json!({"plan": "pro"}), true),
        ("the record alone", "plan", json!({"plan": "pro"}), json!({}), true),
        ("the record wins", "plan", json!({"plan": "free"}), json!({"plan": "pro"}), false),
        ("the record wins for the better, too", "plan", json!({"plan": "pro"}), json!({"plan": "free"}), true),
        ("null is known", "plan", json!({"plan": null}), json!({"plan": "pro"}), false),
        ("neither", "plan", json!({}), json!({}), false),
        ("a path", "org.plan", json!({"org": {"plan": "pro"}}), json!({}), true),
        ("a path in the context", "org.plan", json!({}), json!({"org": {"plan": "pro"}}), true),
        ("a long path", "a.b.c.d", json!({"a": {"b": {"c": {"d": "pro"}}}}), json!({}), true),
        ("no path into a string", "org.plan.x", json!({"org": {"plan": "pro"}}), json!({}), false),
        ("no path into an array", "org.0", json!({"org": ["pro"]}), json!({}), false),
        ("the whole name first", "org.plan", json!({"org.plan": "pro", "org": {"plan": "free"}}), json!({}), true),
        (
            "the record's path wins",
            "org.plan",
            json!({"org": {"plan": "free"}}),
            json!({"org": {"plan": "pro"}}),
            false,
        ),
        ("also over the whole name", "org.plan", json!({"org": {"plan": "free"}}), json!({"org.plan": "pro"}), false),
        ("even if it ends early", "org.plan", json!({"org": {}}), json!({"org": {"plan": "pro"}}), false),
        ("or is not an object", "org.plan", json!({"org": null}), json!({"org.plan": "pro"}), false),
        ("an object is not a scalar", "org", json!({"org": {"plan": "pro"}}), json!({}), false),
        ("the user's id", "targetingKey", json!({}), json!({}), false),
        (
            "which neither record nor context can set",
            "targetingKey",
            json!({"targetingKey": "pro"}),
            json!({"targetingKey": "pro"}),
            false,
        ),
        ("empty names", "..", json!({}), json!({}), false),
    ] {
        let (record, context) = (object(&record), object(&context));
        let subject = Subject { targeting_key: Some("u"), context: &context, record: UserAttributes::Record(&record) };
        let flag = flag(attribute);
        assert_eq!(flag.evaluate("x", &subject).unwrap().variant == "a", is_matched, "{rule}");
    }
    let subject = Subject { targeting_key: Some("pro"), context: &Map::new(), record: UserAttributes::NoRecord };
    assert_eq!(flag("targetingKey").evaluate("x", &subject).unwrap().variant, "a");
}

#[test]
fn a_flag_gives_its_value_as_json_and_its_metadata() {
    let definitions = definitions(&json!({
        "switch": {"default": "on"},
        "text": {"variants": {"a \"b\"": "<é\"\n>"}, "default": "a \"b\"", "metadata": {"owner": "shop", "n": 1, "b": true}},
        "number": {"variants": {"n": -1.5e-3}, "default": "n"},
        "object": {"variants": {"list": [1, {"a": null}], "object": {}}, "default": "list", "metadata": {}},
    }));
    let nobody = Subject { targeting_key: None, context: &Map::new(), record: UserAttributes::NoRecord };
    for (name, variant, json, metadata) in [
        ("switch", "on", "true", None),
        ("text", "a \"b\"", r#""<é\"\n>""#, Some(r#"{"b":true,"n":1,"owner":"shop"}"#)),
        ("number", "n", "-0.0015", None),
        ("object", "list", r#"[1,{"a":null}]"#, Some("{}")),
    ] {
        let expected = ResolutionDetails {
            variant,
            value_json: json,
            reason: Reason::Static,
            rule: None,
            metadata_json: metadata,
        };
        assert_eq!(definitions.get(name).unwrap().evaluate(name, &nobody), Ok(expected), "{name}");
    }
}

#[test]
fn flags_are_found_by_name_and_listed_in_order() {
    let definitions = definitions(&json!({"b": {"default": "on"}, "a.b": {"default": "off"}, "B": {"default": "on"}}));
    assert_eq!(definitions.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["B", "a.b", "b"]);
    assert!(definitions.iter().all(|(name, flag)| definitions.get(name) == Some(flag)));
    assert!(definitions.get("c").is_none() && definitions.get("").is_none() && definitions.get("A").is_none());
    assert_eq!((definitions.len(), definitions.is_empty()), (3, false));
    assert_eq!((Definitions::none().len(), Definitions::none().is_empty()), (0, true));
}

#[test]
fn a_percentage_holds_below_its_threshold() {
    let bucket = Some(Bucket::of("x", "user-1"));
    let threshold =
        (0..100_000_u32).find(|threshold| Bucket::threshold(f64::from(*threshold) / 1000.0) == bucket).unwrap();
    for (thousandths, expected) in [(threshold, "none"), (threshold + 1, "a")] {
        let flag = flag(&json!({"rules": [{"percentage": f64::from(thousandths) / 1000.0, "variant": "a"}]}));
        assert_eq!(chosen(&flag, Some("user-1"), &json!({})), Ok((expected.to_owned(), "SPLIT")));
    }
}

proptest! {
    #[test]
    fn a_growing_percentage_moves_nobody_out(user in ".+", from in 0..=100_000_u32, more in 0..=100_000_u32) {
        let share = |thousandths: u32| f64::from(thousandths) / 1000.0;
        let rollout = |percentage: f64| {
            let flag = flag(&json!({"rules": [{"percentage": percentage, "variant": "a"}]}));
            chosen(&flag, Some(&user), &json!({})).unwrap().0
        };
        let (before, after) = (rollout(share(from)), rollout(share((from + more).min(100_000))));
        prop_assert!(before == "none" || after == "a", "{} {}", from, more);
        prop_assert_eq!(rollout(100.0), "a");
        prop_assert_eq!(rollout(0.0), "none");
    }

    #[test]
    fn evaluation_accepts_any_context(key in any::<Option<String>>(), name in ".*", text in ".*", number in any::<f64>()) {
        let context = object(&json!({"a": text, "b": number, "c": {"d": [text]}, name.clone(): {"x": text}}));
        let flag = flag(&json!({"rules": [
            {"match": [{"attribute": "a", "semverGte": "1"}, {"attribute": "b", "lt": 3}], "variant": "a"},
            {"match": [{"attribute": "a", "in": [1, null, "b"], "not": true}], "variant": "b"},
        ]}));
        let subject = Subject { targeting_key: key.as_deref(), context: &context, record: UserAttributes::Record(&context) };
        prop_assert!(flag.evaluate(&name, &subject).is_ok());
    }
}

#[test]
fn only_a_condition_on_more_than_the_targeting_key_needs_the_users_record() {
    for (flag, needs) in [
        (r#"{"default": "off"}"#, false),
        (r#"{"default": "off", "rules": [{"deny": ["a"]}, {"percentage": 5, "variant": "on"}]}"#, false),
        (
            r#"{"default": "off", "rules": [{"match": [{"attribute": "targetingKey", "startsWith": "a"}], "variant": "on"}]}"#,
            false,
        ),
        (r#"{"default": "off", "rules": [{"match": [{"attribute": "plan", "eq": "pro"}], "variant": "on"}]}"#, true),
        (
            r#"{"on": false, "default": "off", "rules": [{"match": [{"attribute": "plan", "eq": "pro"}], "variant": "on"}]}"#,
            false,
        ),
    ] {
        let definitions = Definitions::parse(&format!(r#"{{"flags": {{"a": {flag}}}}}"#)).unwrap();
        assert_eq!(definitions.needs_attributes(), needs, "{flag}");
    }
}

#[test]
fn a_switch_that_is_off_gives_off_whatever_its_default_unless_it_names_another_variant() {
    for (flag, variant) in [
        (r#"{"default": "on", "on": false}"#, "off"),
        (r#"{"default": "on", "on": false, "off": "on"}"#, "on"),
        (r#"{"default": "on"}"#, "on"),
    ] {
        let definitions = Definitions::parse(&format!(r#"{{"flags": {{"a": {flag}}}}}"#)).unwrap();
        let subject = Subject { targeting_key: None, context: &Map::new(), record: UserAttributes::NoRecord };
        assert_eq!(definitions.get("a").unwrap().evaluate("a", &subject).unwrap().variant, variant, "{flag}");
    }
}

#[test]
fn the_result_names_the_rule_that_gives_the_variant() {
    let rules = json!({"rules": [
        {"deny": ["blocked"]},
        {"match": [{"attribute": "plan", "eq": "pro"}], "percentage": 50, "variant": "a"},
        {"allow": ["u"], "variant": "b"},
    ]});
    let (within, outside) = (user_between(0.0, 50.0), user_between(50.0, 100.0));
    let (pro, free) = (object(&json!({"plan": "pro"})), Map::new());
    for (members, key, context, expected) in [
        (&rules, "blocked", &pro, ("none", Some(0))),
        (&rules, &within, &pro, ("a", Some(1))),
        (&rules, &outside, &pro, ("none", None)),
        (&rules, "u", &free, ("b", Some(2))),
        (&rules, "other", &free, ("none", None)),
        (&json!({"on": false, "rules": [{"allow": ["u"], "variant": "b"}]}), "u", &free, ("none", None)),
        (&json!({}), "u", &free, ("none", None)),
    ] {
        let flag = flag(members);
        let subject = Subject { targeting_key: Some(key), context, record: UserAttributes::NoRecord };
        let details = flag.evaluate("x", &subject).unwrap();
        assert_eq!((details.variant, details.rule), expected, "{members} {key}");
    }
}

#[test]
fn a_flag_needs_the_targeting_key_for_ids_percentages_and_conditions_on_it() {
    for (members, expected) in [
        (json!({"rules": [{"allow": ["u"], "variant": "a"}]}), true),
        (json!({"rules": [{"deny": ["u"]}]}), true),
        (json!({"rules": [{"percentage": 10, "variant": "a"}]}), true),
        (json!({"rules": [{"match": [{"attribute": "targetingKey", "eq": "u"}], "variant": "a"}]}), true),
        (json!({"rules": [{"match": [{"attribute": "plan", "eq": "pro"}], "variant": "a"}]}), false),
        (json!({"on": false, "rules": [{"allow": ["u"], "variant": "a"}]}), false),
        (json!({}), false),
    ] {
        let flag = flag(&members);
        assert_eq!(flag.needs_targeting_key(), expected, "{members}");
        let pro = object(&json!({"plan": "pro"}));
        let sample = flag.sample("x", &pro, 20);
        let each =
            (0..20).map(|user| chosen(&flag, Some(&format!("sample-user-{user}")), &json!({"plan": "pro"})).unwrap().0);
        assert!(sample.iter().copied().eq(each), "{members}");
    }
}

#[test]
fn a_sample_has_the_variant_of_each_of_its_users_in_their_order() {
    let flag =
        flag(&json!({"rules": [{"match": [{"attribute": "plan", "eq": "pro"}], "percentage": 30, "variant": "a"}]}));
    let pro = object(&json!({"plan": "pro"}));
    let sample = flag.sample("x", &pro, 1000);
    assert_eq!(sample.len(), 1000);
    for (user, variant) in sample.iter().enumerate() {
        let expected = chosen(&flag, Some(&format!("sample-user-{user}")), &json!({"plan": "pro"})).unwrap();
        assert_eq!(*variant, expected.0);
    }
    let share = sample.iter().filter(|variant| **variant == "a").count();
    assert!((250..350).contains(&share), "{share}");
    assert!(flag.sample("x", &Map::new(), 10).iter().all(|variant| *variant == "none"));
    assert_eq!(flag.variants().collect::<Vec<_>>(), ["a", "b", "c", "none"]);
}
