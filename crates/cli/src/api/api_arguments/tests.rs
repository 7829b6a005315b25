use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct TestCommandLine {
    #[command(flatten)]
    api: ApiArguments,
    folder: Option<String>,
}

fn endpoint(arguments: &[&str], token: &str) -> Result<ApiEndpoint, String> {
    let line =
        TestCommandLine::try_parse_from([&["kv-edge"], arguments].concat()).map_err(|error| error.to_string())?;
    let given = EnvironmentToken { names: &ArgumentNames::SOURCE, token: token.to_owned() };
    line.api.endpoint(&given).map_err(|error| error.to_string())
}

#[test]
fn each_api_has_its_address_and_the_local_one_has_neither_account_nor_token() {
    for (arguments, expected, has_token) in [
        (&["--account", "a1"][..], "https://api.cloudflare.com/client/v4/accounts/a1/x", true),
        (&["--account", "a/b"], "https://api.cloudflare.com/client/v4/accounts/a%2Fb/x", true),
        (&["--account", "a1", "--api-base", "http://127.0.0.1:9/v4/"], "http://127.0.0.1:9/v4/accounts/a1/x", true),
        (&["--account", "a1", "--api-base", "http://[::1]:9"], "http://[::1]:9/accounts/a1/x", true),
        (&["--local"], "http://localhost:8787/cdn-cgi/explorer/api/x", false),
        (&["--local", "static"], "http://localhost:8787/cdn-cgi/explorer/api/x", false),
        (&["--local=http://127.0.0.1:1/"], "http://127.0.0.1:1/cdn-cgi/explorer/api/x", false),
        (&["--local=http://h:1/cdn-cgi/explorer/api"], "http://h:1/cdn-cgi/explorer/api/x", false),
        (&["--api-base", "http://h:1/cdn-cgi/explorer/api/"], "http://h:1/cdn-cgi/explorer/api/x", false),
    ] {
        let endpoint = endpoint(arguments, "secret").unwrap();
        assert_eq!((endpoint.url("/x").as_str(), endpoint.token().is_some()), (expected, has_token), "{arguments:?}");
        assert!(!format!("{endpoint:?}").contains("secret"));
    }
}

#[test]
fn a_bad_address_or_token_is_reported_before_anything_is_sent() {
    let account = ["--account", "a1"];
    for (arguments, token, expected) in [
        // Given, because CLOUDFLARE_ACCOUNT_ID may be set where this runs.
        (&["--account", ""][..], "t", "no account is given; use --account ID"),
        (&account, "", "CLOUDFLARE_API_TOKEN is not set; make a token"),
        (&account, "a b", "CLOUDFLARE_API_TOKEN is not a valid token"),
        (&account, "a\r\nx: y", "CLOUDFLARE_API_TOKEN is not a valid token"),
        (&["--account", "a1", "--api-base", "http://h.example"], "t", "http://h.example is not encrypted"),
        (&["--api-base", "h.example/v4"], "t", "error: invalid value"),
        (&["--api-base", "ftp://h.example"], "t", "error: invalid value"),
        (&["--api-base", "https://u:p@h.example"], "t", "error: invalid value"),
        (&["--api-base", "https://h.example/?a"], "t", "error: invalid value"),
        (&["--api-base", "https://h.example/", "--local"], "t", "error: the argument"),
        (&["--deadline", "0"], "t", "error: invalid value"),
    ] {
        let sentence = endpoint(arguments, token).map(|endpoint| endpoint.url("")).unwrap_err();
        assert!(sentence.starts_with(expected), "{arguments:?}: {sentence}");
    }
}

#[test]
fn a_namespace_is_found_by_its_id_and_then_by_its_title() {
    let known = |id: &str, title: &str| ListedNamespace { id: id.to_owned(), title: title.to_owned() };
    let all = [known("1", "assets"), known("2", "twice"), known("3", "twice"), known("4", "1")];
    for (name, expected) in [
        ("assets", Ok("1")),
        ("1", Ok("1")),
        ("4", Ok("4")),
        ("twice", Err("several namespaces have the title \"twice\"; use --namespace with the ID of one of them: 2, 3")),
        (
            "none",
            Err(
                "there is no namespace \"none\" in the account; use --namespace with one of these: assets, twice, twice, 1",
            ),
        ),
    ] {
        let found = find(name, &all, false, &ArgumentNames::SOURCE).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{name}");
    }
    let destination = &ArgumentNames::DESTINATION;
    let nothing = find("a", &[], true, destination).unwrap_err().to_string();
    assert!(nothing.contains("it has no namespaces at all; check --to-account and"), "{nothing}");
    let ambiguous = find("twice", &all, false, destination).unwrap_err().to_string();
    assert!(ambiguous.contains("use --to-namespace with the ID"), "{ambiguous}");
    let many: Vec<_> = (0..12).map(|at| known(&at.to_string(), &format!("n{at}"))).collect();
    let unknown = find("a", &many, false, destination).unwrap_err().to_string();
    assert!(unknown.contains("use --to-namespace with one of these: n0"), "{unknown}");
    assert!(unknown.ends_with("n9 and 2 more"), "{unknown}");
}

#[test]
fn what_is_missing_for_a_destination_is_named_by_its_own_arguments() {
    let arguments = |account: &str| AccountArguments { account: Some(account.to_owned()), api_base: None, deadline: 1 };
    let endpoint = |account: &str| {
        let given = EnvironmentToken { names: &ArgumentNames::DESTINATION, token: String::new() };
        arguments(account).endpoint(&given, ApiService::Kv).map(|endpoint| endpoint.url("")).unwrap_err().to_string()
    };
    assert_eq!(
        endpoint(""),
        "no account is given; use --to-account ID or set CLOUDFLARE_ACCOUNT_ID (`npx wrangler whoami` lists yours), or \
         use --to-local for the KV of `wrangler dev`"
    );
    let no_token = endpoint("a1");
    assert!(no_token.starts_with("TO_CLOUDFLARE_API_TOKEN is not set"), "{no_token}");
    assert!(no_token.ends_with("or use --to-local for the KV of `wrangler dev`"), "{no_token}");
}

#[test]
fn an_address_after_a_local_option_needs_an_equals_sign() {
    for (arguments, expected) in [
        (&["push", "--local", "8800"][..], Some("--local needs its address after an equals sign: --local=8800")),
        (
            &["--local", "--to-namespace", "b", "--to-local", "8800"],
            Some("--to-local needs its address after an equals sign: --to-local=8800"),
        ),
        (
            &["--local=8800", "--to-local", "localhost"],
            Some("--to-local needs its address after an equals sign: --to-local=localhost"),
        ),
        (&["--local", "folder"], None),
        (&["--local", "--to-local"], None),
        (&["--", "--local", "8800"], None),
        (&["--local"], None),
        (&[], None),
    ] {
        let sentence = misplaced_address(arguments.iter().map(OsString::from));
        assert_eq!(sentence.as_deref(), expected, "{arguments:?}");
    }
}

#[test]
fn an_id_is_32_hex_digits() {
    for (name, expected) in [
        ("0123456789abcdef0123456789ABCDEF", true),
        ("0123456789abcdef0123456789abcde", false),
        ("0123456789abcdef0123456789abcdeg", false),
        ("assets", false),
    ] {
        assert_eq!(is_id(name), expected, "{name}");
    }
}
