//! Which variant a request gets, and which ones follow if its upstream fails.

use super::*;

/// Visitor 7 and user u1 get blue; visitor 2 and user u2 get green.
#[test]
fn the_split_rule_comes_before_the_cookie_of_the_visitor() {
    let cookie = Visitor::new(2).set_cookie("shop", "/", &key());
    let greens = cookie.split_once(';').unwrap().0;
    let both_cookies = format!("uid=1; {greens}");
    for (split, fields, variant, sets_cookie) in [
        (r#"{"by": "cookie"}"#, &[] as FieldSlice<'_>, "blue", true),
        (r#"{"by": "cookie"}"#, &[("cookie", greens)], "green", false),
        (r#"{"by": "cookie"}"#, &[("x-group", "green")], "blue", true),
        (r#"{"by": "header", "name": "X-Group"}"#, &[("x-group", " green ")], "green", false),
        (r#"{"by": "header", "name": "X-Group"}"#, &[("x-group", "green"), ("cookie", "a=b")], "green", false),
        (r#"{"by": "header", "name": "X-Group"}"#, &[("x-group", "red")], "blue", true),
        (r#"{"by": "header", "name": "X-Group"}"#, &[("x-group", "Green")], "blue", true),
        (r#"{"by": "header", "name": "X-Group"}"#, &[("x-group", "green, green")], "blue", true),
        (r#"{"by": "header", "name": "X-Group"}"#, &[("x-group", "")], "blue", true),
        (r#"{"by": "header", "name": "X-Group"}"#, &[], "blue", true),
        (r#"{"by": "header", "name": "X-Group"}"#, &[("cookie", greens)], "green", false),
        (r#"{"by": "user", "header": "X-User"}"#, &[("x-user", "u2")], "green", false),
        (r#"{"by": "user", "header": "X-User"}"#, &[("x-user", "u2"), ("cookie", "a=b")], "green", false),
        (r#"{"by": "user", "header": "X-User"}"#, &[("x-user", "u1")], "blue", false),
        (r#"{"by": "user", "header": "X-User"}"#, &[("x-user", " ")], "blue", true),
        (r#"{"by": "user", "header": "X-User"}"#, &[("cookie", greens)], "green", false),
        (r#"{"by": "user", "cookie": "uid"}"#, &[("cookie", "a=b; uid=u2")], "green", false),
        (r#"{"by": "user", "cookie": "uid"}"#, &[("cookie", "uid=; uid=\"u2\"")], "green", false),
        (r#"{"by": "user", "cookie": "uid"}"#, &[("cookie", "UID=u2")], "blue", true),
        (r#"{"by": "user", "cookie": "uid"}"#, &[("cookie", &both_cookies)], "blue", false),
        (r#"{"by": "user", "cookie": "uid"}"#, &[("cookie", greens)], "green", false),
    ] {
        let record = record(&format!(r#""split": {split}, {VARIANTS}"#));
        let summary = TestRequest { fields, ..GET }.planned(&record).unwrap();
        assert_eq!(
            (summary.target.as_str(), summary.set_cookie.is_some()),
            (variant, sets_cookie),
            "{split} {fields:?}"
        );
    }
}

#[test]
fn the_others_are_the_variants_with_a_weight_above_0_without_the_chosen_one() {
    let weights = |red| VARIANTS.replace("https://red.example\"", &format!("https://red.example\", \"weight\": {red}"));
    let by_header = r#""split": {"by": "header", "name": "x-group"}"#;
    for (members, fields, chosen, others) in [
        (weights(0), &[] as FieldSlice<'_>, "blue", &["green"] as &[_]),
        (weights(1), &[], "blue", &["green", "red"]),
        (weights(1_000_000), &[], "red", &["blue", "green"]),
        (format!("{by_header}, {}", weights(1)), &[("x-group", "red")], "red", &["blue", "green"]),
        (format!("{by_header}, {}", weights(0)), &[("x-group", "green")], "green", &["blue"]),
        (format!(r#""active": "blue", {}"#, weights(1)), &[], "blue", &[]),
    ] {
        let summary = TestRequest { fields, ..GET }.planned(&record(&members)).unwrap();
        assert_eq!(summary.target, chosen, "{members}");
        let mut sorted = summary.others.clone();
        sorted.sort();
        assert_eq!(sorted, others, "{members}");
    }
}

#[test]
fn the_others_are_ranked_as_if_the_chosen_one_had_no_weight() {
    let weights = |chosen: Option<&str>| {
        let variant = |name: &str| {
            let weight = if chosen == Some(name) { 0 } else { 5 };
            format!(r#"{{"name": "{name}", "origin": "https://{name}.example", "weight": {weight}}}"#)
        };
        record(&format!(r#""variants": [{}]"#, ["a", "b", "c", "d"].map(variant).join(",")))
    };
    for random in 0..64 {
        let visitor = TestRequest { random, ..GET };
        let summary = visitor.planned(&weights(None)).unwrap();
        let without = visitor.planned(&weights(Some(&summary.target))).unwrap();
        assert_eq!(summary.others.first(), Some(&without.target), "{random}");
        assert_eq!(summary.others.get(1..), Some(without.others.as_slice()), "{random}");
    }
}

#[test]
fn the_active_variant_serves_all_visitors_and_sets_no_cookie() {
    for active in ["blue", "green", "red"] {
        let record = record(&format!(r#""active": "{active}", {VARIANTS}"#));
        let cookie = Visitor::new(2).set_cookie("shop", "/", &key());
        for fields in [&[] as FieldSlice<'_>, &[("cookie", cookie.as_str())], &[("x-group", "green")]] {
            let summary = TestRequest { fields, has_key: false, token: None, ..GET }.planned(&record).unwrap();
            assert_eq!((summary.target.as_str(), summary.set_cookie), (active, None));
        }
    }
}

#[test]
fn a_variant_is_forced_only_with_the_token() {
    let (split, active) = (record(VARIANTS), record(&format!(r#""active": "blue", {VARIANTS}"#)));
    let routed = record(r#""origin": "https://a.example""#);
    let right = ("x-force-variant-token", TOKEN);
    for (record, fields, token, expected) in [
        (&split, &[("x-force-variant", "green"), right] as FieldSlice<'_>, Some(TOKEN), Ok("green")),
        (&split, &[("x-force-variant", " red "), right], Some(TOKEN), Ok("red")),
        (&active, &[("x-force-variant", "green"), right], Some(TOKEN), Ok("green")),
        (&split, &[right], Some(TOKEN), Ok("blue")),
        (&split, &[("x-force-variant", "green")], Some(TOKEN), Err(TenantError::ForceUnauthorized)),
        (
            &split,
            &[("x-force-variant", "green"), ("x-force-variant-token", "token")],
            Some(TOKEN),
            Err(TenantError::ForceUnauthorized),
        ),
        (
            &split,
            &[("x-force-variant", "green"), ("authorization", "Bearer token of the deployment")],
            Some(TOKEN),
            Err(TenantError::ForceUnauthorized),
        ),
        // Without the token, the response does not show which variants exist.
        (&split, &[("x-force-variant", "none")], Some(TOKEN), Err(TenantError::ForceUnauthorized)),
        (&split, &[("x-force-variant", "none"), right], Some(TOKEN), Err(TenantError::UnknownVariant)),
        (&split, &[("x-force-variant", "Green"), right], Some(TOKEN), Err(TenantError::UnknownVariant)),
        (&split, &[("x-force-variant", ""), right], Some(TOKEN), Err(TenantError::UnknownVariant)),
        (&routed, &[("x-force-variant", "green"), right], Some(TOKEN), Err(TenantError::UnknownVariant)),
        (&split, &[("x-force-variant", "green"), right], None, Err(TenantError::ForceClosed)),
        (&split, &[("x-force-variant", "green")], None, Err(TenantError::ForceClosed)),
        (
            &split,
            &[("x-force-variant", "green"), ("x-force-variant-token", "")],
            Some(""),
            Err(TenantError::ForceUnauthorized),
        ),
    ] {
        let summary = TestRequest { fields, token, ..GET }.planned(record);
        if let Ok(summary) = &summary
            && fields.iter().any(|(name, _)| *name == "x-force-variant")
        {
            assert_eq!((summary.others.len(), &summary.set_cookie), (0, &None), "{fields:?}");
        }
        assert_eq!(summary.map(|summary| summary.target), expected.map(str::to_owned), "{fields:?} {token:?}");
    }
}

#[test]
fn a_visitor_with_a_cookie_keeps_the_variant_and_gets_no_new_cookie() {
    let record = record(VARIANTS);
    for random in 0..64 {
        let first = TestRequest { random, ..GET }.planned(&record).unwrap();
        let line = first.set_cookie.unwrap();
        let cookie = line.split_once(';').unwrap().0;
        let again = TestRequest { fields: &[("cookie", cookie)], random: 99, ..GET }.planned(&record).unwrap();
        assert_eq!((again.target, again.set_cookie), (first.target, None));
    }
}

#[test]
fn a_forged_cookie_is_ignored_and_replaced() {
    let record = record(VARIANTS);
    let of = |tenant: &str, key: &VisitorKey| {
        Visitor::new(2).set_cookie(tenant, "/", key).split_once(';').unwrap().0.to_owned()
    };
    let valid = of("shop", &key());
    assert_eq!(target(&record, &[("cookie", &valid)]), Ok("green".into()));
    for forged in [of("shop2", &key()), of("shop", &VisitorKey::derive("other")), valid.replace("000002", "000004")] {
        let summary = TestRequest { fields: &[("cookie", &forged)], ..GET }.planned(&record).unwrap();
        assert_eq!((summary.target.as_str(), summary.set_cookie.is_some()), ("blue", true), "{forged}");
    }
}
