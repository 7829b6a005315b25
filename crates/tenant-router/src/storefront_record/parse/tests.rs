//! Invalid records: the path and the text of each fault, and the limits.

use super::super::tests::{faults, parsed};

/// Members beside a valid origin, with their faults.
const MEMBER_FAULTS: &[(&str, &[&str])] = &[
    (r#""routes": {}"#, &["routes: it must be an array"]),
    (r#""routes": ["/a"]"#, &["routes[0]: it must be an object"]),
    (r#""routes": [{}]"#, &["routes[0].path: it is missing", "routes[0].origin: it is missing"]),
    (
        r#""routes": [{"path": 1, "origin": 2, "to": 3}]"#,
        &[
            "routes[0].to: unknown member; known: path, origin",
            "routes[0].path: it must be a string",
            "routes[0].origin: it must be a string",
        ],
    ),
    (
        r#""routes": [{"path": "/a", "origin": "https://a.example"}, {"path": "a", "origin": "a.example"}]"#,
        &["routes[1].path: it must start with /", "routes[1].origin: it does not start with http:// or https://"],
    ),
    (
        r#""routes": [{"path": "/a", "origin": "https://a.example"}, {"path": "/%61/", "origin": "https://a.example"}]"#,
        &["routes[1].path: another route has this path"],
    ),
    (
        r#""routes": [{"path": "", "origin": "https://u@a.example"}]"#,
        &["routes[0].path: it must start with /", "routes[0].origin: it has a user name or password"],
    ),
    (
        r#""routes": [{"path": "/a", "origin": "https://a.example/x?y"}]"#,
        &[
            "routes[0].origin: its path has a query, a fragment, a dot segment, a backslash, a space, or a character that is not printable ASCII",
        ],
    ),
    (r#""variants": "blue""#, &["variants: it must be an array"]),
    (r#""variants": [[]]"#, &["variants[0]: it must be an object"]),
    (r#""variants": [{"weight": 1}]"#, &["variants[0].name: it is missing", "variants[0].origin: it is missing"]),
    (
        r#""variants": [{"name": "a", "origin": "https://a.example", "Weight": 1}]"#,
        &["variants[0].Weight: unknown member; known: name, origin, weight"],
    ),
    (
        r#""variants": [{"name": "a", "origin": "https://a.example"}, {"name": "a", "origin": "https://a.example"}]"#,
        &["variants[1].name: another variant has this name"],
    ),
    (
        r#""variants": [{"name": "a", "origin": "https://a exa"}]"#,
        &["variants[0].origin: its host or port is not valid"],
    ),
    (r#""active": "blue""#, &["active: it names no variant"]),
    (r#""active": "A", "variants": [{"name": "a", "origin": "https://a.example"}]"#, &["active: it names no variant"]),
    (r#""active": 0"#, &["active: it must be a string"]),
    (r#""split": "cookie""#, &["split: it must be an object"]),
    (r#""split": {}"#, &["split.by: it is missing"]),
    (r#""split": {"by": true}"#, &["split.by: it must be a string"]),
    (r#""split": {"by": "weight"}"#, &["split.by: it must be \"cookie\", \"header\" or \"user\""]),
    (
        r#""split": {"by": "cookie", "name": "a", "x": 1}"#,
        &["split.x: unknown member; known: by, name, header, cookie", "split.name: it has no meaning with this \"by\""],
    ),
    (r#""split": {"by": "header"}"#, &["split.name: it is missing"]),
    (
        r#""split": {"by": "header", "name": "X A", "cookie": "b"}"#,
        &["split.cookie: it has no meaning with this \"by\"", "split.name: it is no name of a header field"],
    ),
    (r#""split": {"by": "user"}"#, &["split.header: it is missing"]),
    (
        r#""split": {"by": "user", "header": "é", "name": "a"}"#,
        &["split.name: it has no meaning with this \"by\"", "split.header: it is no name of a header field"],
    ),
    (
        r#""split": {"by": "user", "header": "a", "cookie": "b c"}"#,
        &["split.header: it has no meaning with this \"by\"", "split.cookie: it is no name of a cookie"],
    ),
    (r#""headers": []"#, &["headers: it must be an object"]),
    (r#""headers": {"set": {}}"#, &["headers.set: unknown member; known: request, response"]),
    (
        r#""headers": {"request": {"add": {}, "set": [], "remove": "X-A"}}"#,
        &[
            "headers.request.add: unknown member; known: set, remove",
            "headers.request.set: it must be an object",
            "headers.request.remove: it must be an array",
        ],
    ),
    (
        r#""headers": {"request": {"set": {"X A": "1", "X-B": 1, "X-C": " a", "X-D": "a\nb", "X-E": "é"}, "remove": ["", 1]}}"#,
        &[
            "headers.request.set[\"X A\"]: it is no name of a header field",
            "headers.request.set[\"X-B\"]: it must be a string",
            "headers.request.set[\"X-C\"]: it is no value of a header field: ASCII without control characters, 8192 bytes at most",
            "headers.request.set[\"X-D\"]: it is no value of a header field: ASCII without control characters, 8192 bytes at most",
            "headers.request.set[\"X-E\"]: it is no value of a header field: ASCII without control characters, 8192 bytes at most",
            "headers.request.remove[0]: it is no name of a header field",
            "headers.request.remove[1]: it must be a string",
        ],
    ),
    (
        r#""headers": {"response": {"set": {"Set-Cookie": "a=1"}, "remove": ["X-Variant"]}}"#,
        &[
            "headers.response.set[\"Set-Cookie\"]: this field can be removed, not set",
            "headers.response.remove[0]: kv-edge sets or removes this field itself",
        ],
    ),
    (r#""timeoutMs": 0"#, &["timeoutMs: it must be a whole number from 1 to 60000"]),
    (r#""timeoutMs": 60001"#, &["timeoutMs: it must be a whole number from 1 to 60000"]),
    (r#""timeoutMs": 1.5"#, &["timeoutMs: it must be a whole number from 1 to 60000"]),
    (r#""timeoutMs": -1"#, &["timeoutMs: it must be a whole number from 1 to 60000"]),
    (r#""timeoutMs": "5000""#, &["timeoutMs: it must be a whole number from 1 to 60000"]),
    (r#""timeoutMs": 1e999"#, &["a number beyond 1.8e308 at line 1, column 50"]),
    (r#""fallback": 1"#, &["fallback: it must be an object"]),
    (r#""fallback": "maintenance.html""#, &["fallback: it does not start with http:// or https://"]),
    (r#""fallback": {}"#, &["fallback.asset: it is missing"]),
    (
        r#""fallback": {"asset": "", "origin": "https://a.example"}"#,
        &[
            "fallback.origin: unknown member; known: asset",
            "fallback.asset: The key is empty; Workers KV needs at least one byte.",
        ],
    ),
    (
        r#""fallback": {"asset": ".."}"#,
        &["fallback.asset: The key is \".\" or \"..\", which Workers KV does not accept."],
    ),
    (r#""access": ["CH"]"#, &["access: it must be an object"]),
    (r#""access": {"allow": {}}"#, &["access.allow: it lists nobody"]),
    (r#""access": {"allow": {"countries": [], "ips": []}}"#, &["access.allow: it lists nobody"]),
    (
        r#""access": {"alow": {}, "deny": {"ip": []}}"#,
        &["access.alow: unknown member; known: allow, deny", "access.deny.ip: unknown member; known: countries, ips"],
    ),
    (
        r#""access": {"deny": {"countries": "CH", "ips": ["10.0.0.1/8", "10.0.0.0/33", "a", 1]}}"#,
        &[
            "access.deny.countries: it must be an array",
            "access.deny.ips[0]: its address has bits set after the prefix; the range is 10.0.0.0/8",
            "access.deny.ips[1]: its prefix length is not a number from 0 to 32",
            "access.deny.ips[2]: it is not an IP address or a range such as 192.0.2.0/24",
            "access.deny.ips[3]: it must be a string",
        ],
    ),
    (
        r#""access": {"allow": {"countries": ["CH", "CHE"]}}"#,
        &["access.allow.countries[1]: it is not a country code of two characters, such as CH"],
    ),
    (
        r#""orgin": "https://a.example""#,
        &[
            "orgin: unknown member; known: origin, routes, variants, active, split, headers, timeoutMs, fallback, access, \
           storefront",
        ],
    ),
];

#[test]
fn each_fault_of_a_member_names_its_place() {
    for (member, expected) in MEMBER_FAULTS {
        assert_eq!(faults("shop", &format!(r#"{{"origin": "https://a.example", {member}}}"#)), *expected, "{member}");
    }
}

#[test]
fn each_fault_of_a_whole_record_is_reported() {
    let neither = "it has neither an origin nor an active variant nor one with a weight";
    for (json, expected) in [
        ("", "not a JSON object at line 1, column 1"),
        ("[]", "not a JSON object at line 1, column 1"),
        ("\"https://a.example\"", "not a JSON object at line 1, column 1"),
        ("{\"origin\": \"https://a.example\"", "invalid JSON at line 1, column 30"),
        ("{}", "origin: it is missing"),
        (r#"{"routes": [{"path": "/", "origin": "https://a.example"}]}"#, "origin: it is missing"),
        (r#"{"origin": 7}"#, "origin: it must be a string"),
        (r#"{"origin": "a.example"}"#, "origin: it does not start with http:// or https://"),
        (
            r#"{"origin": "https://a.example/../x"}"#,
            "origin: its path has a query, a fragment, a dot segment, a backslash, a space, or a character that is not printable ASCII",
        ),
        (r#"{"variants": []}"#, neither),
        (r#"{"variants": [{"name": "a", "origin": "https://a.example"}]}"#, neither),
        (r#"{"variants": [{"name": "a", "origin": "https://a.example", "weight": 0}]}"#, neither),
        // A variant with a fault is not reported as missing as well.
        (
            r#"{"variants": [{"name": "a", "origin": "https://a.example", "weight": -1}]}"#,
            "variants[0].weight: it must be a whole number from 0 to 1000000",
        ),
        (
            r#"{"active": "a", "variants": [{"name": "a", "origin": "a.example"}]}"#,
            "variants[0].origin: it does not start with http:// or https://",
        ),
    ] {
        assert_eq!(faults("shop", json), [expected], "{json}");
    }
}

#[test]
fn a_route_with_a_path_that_no_request_can_have_is_refused() {
    let unclean = "routes[0].path: it has a query, a fragment, a dot segment, a backslash, a space, or a character that is not printable ASCII";
    for path in ["/a?b", "/a#b", "/a b", "/a/../b", "/.", "/%2e%2E/a", "/a\\\\b", "/é", "/a\\nb", "/a\\u0000"] {
        let route = format!(r#"{{"path": "{path}", "origin": "https://a.example"}}"#);
        assert_eq!(
            faults("shop", &format!(r#"{{"origin": "https://a.example", "routes": [{route}]}}"#)),
            [unclean],
            "{path}"
        );
    }
}

#[test]
fn a_variants_name_and_weight_have_their_limits() {
    let variant = |name: &str, weight: &str| {
        let json =
            format!(r#"{{"variants": [{{"name": "{name}", "origin": "https://a.example", "weight": {weight}}}]}}"#);
        faults("shop", &json)
    };
    for (name, weight) in [("a", "1"), (&"n".repeat(64), "1000000"), ("A.b_c-9", "1")] {
        assert_eq!(variant(name, weight), [""; 0], "{name}");
    }
    let bad_name = "variants[0].name: a name has 1 to 64 characters: letters, digits, dots, hyphens and underscores";
    for name in ["", "a b", "é", "a/b", "a,b", "a;b", "a\\nb", &"n".repeat(65)] {
        assert_eq!(variant(name, "1"), [bad_name], "{name}");
    }
    let bad_weight = "variants[0].weight: it must be a whole number from 0 to 1000000";
    for weight in ["-1", "1000001", "0.5", "1e9", "\"1\"", "true", "[]", "18446744073709551616", "4294967297"] {
        assert_eq!(variant("a", weight), [bad_weight], "{weight}");
    }
}

#[test]
fn lists_have_their_limits() {
    let lists = [
        ("routes", 100, r#""routes": ["#, r#"{"path": "/@", "origin": "https://a.example"}"#, "]"),
        ("variants", 16, r#""variants": ["#, r#"{"name": "@", "origin": "https://a.example"}"#, "]"),
        ("headers.request.remove", 50, r#""headers": {"request": {"remove": ["#, r#""x-@""#, "]}}"),
        ("access.deny.countries", 300, r#""access": {"deny": {"countries": ["#, r#""CH""#, "]}}"),
        ("access.deny.ips", 1000, r#""access": {"deny": {"ips": ["#, r#""10.0.0.1""#, "]}}"),
    ];
    for (place, most, before, element, after) in lists {
        let json = |count: usize| {
            let elements: Vec<_> = (0..count).map(|index| element.replace('@', &index.to_string())).collect();
            format!(r#"{{"origin": "https://a.example", {before}{}{after}}}"#, elements.join(","))
        };
        assert_eq!(faults("shop", &json(most)), [""; 0], "{place}");
        let too_many = format!("{place}: it has {} elements; at most {most} are allowed", most + 1);
        assert_eq!(faults("shop", &json(most + 1)), [too_many]);
    }
    let json = |count: usize| {
        let fields: Vec<_> = (0..count).map(|index| format!(r#""x-{index}": """#)).collect();
        format!(r#"{{"origin": "https://a.example", "headers": {{"response": {{"set": {{{}}}}}}}}}"#, fields.join(","))
    };
    assert_eq!(faults("shop", &json(50)), [""; 0]);
    assert_eq!(faults("shop", &json(51)), ["headers.response.set: it has 51 members; at most 50 are allowed"]);
}

#[test]
fn a_record_can_neither_set_nor_remove_the_fields_that_kv_edge_sets_itself() {
    let reserved = "kv-edge sets or removes this field itself";
    let both = "connection keep-alive Proxy-Authorization te trailer Transfer-Encoding upgrade content-length";
    let request =
        "Host forwarded via cdn-loop CF-Connecting-IP cf-ipcountry X-Forwarded-For x-forwarded-zork X-Force-Variant";
    let response = "content-encoding x-served-by x-storefront-id X-Variant routing-source";
    for (way, names) in [("request", both), ("response", both), ("request", request), ("response", response)] {
        for name in names.split(' ') {
            let json = |edits: &str| format!(r#"{{"origin": "https://a.example", "headers": {{"{way}": {edits}}}}}"#);
            let set = faults("shop", &json(&format!(r#"{{"set": {{"{name}": "x"}}}}"#)));
            let removed = faults("shop", &json(&format!(r#"{{"remove": ["{name}"]}}"#)));
            assert!(set.len() == 1 && set.iter().all(|fault| fault.ends_with(reserved)), "{way} {name}: {set:?}");
            assert_eq!(removed, [format!("headers.{way}.remove[0]: {reserved}")], "{name}");
        }
    }
}

#[test]
fn a_fields_value_has_8192_bytes_at_most() {
    let json = |length: usize| {
        let value = "v".repeat(length);
        format!(r#"{{"origin": "https://a.example", "headers": {{"request": {{"set": {{"x-a": "{value}"}}}}}}}}"#)
    };
    assert_eq!(faults("shop", &json(8192)), [""; 0]);
    assert_eq!(faults("shop", &json(8193)).len(), 1);
}

#[test]
fn up_to_a_hundred_faults_are_found_and_five_displayed() {
    let routes = vec!["1"; 100].join(",");
    let error = parsed("shop", &format!(r#"{{"origin": 1, "a": 1, "routes": [{routes}], "split": 1}}"#)).unwrap_err();
    assert_eq!(error.faults.len(), 100);
    let text = error.to_string();
    assert!(text.starts_with("a: unknown member; ") && text.ends_with("routes[3]: it must be an object"), "{text}");
}
