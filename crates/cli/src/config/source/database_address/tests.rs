use super::*;

fn tls(url: &str) -> Result<(SslMode, TlsTrust), String> {
    let address = DatabaseAddress::parse(url).map_err(|error| error.to_string())?;
    Ok((address.config.get_ssl_mode(), address.tls.trust))
}

#[test]
fn sslmode_and_sslrootcert_mean_the_same_in_a_url_and_in_keywords_and_values() {
    let file = || TrustRoots::File("/ca.pem".into());
    for (settings, mode, trust) in [
        (&[][..], SslMode::Prefer, TlsTrust::Anything),
        (&["sslmode=disable"], SslMode::Disable, TlsTrust::Anything),
        (&["sslmode=prefer"], SslMode::Prefer, TlsTrust::Anything),
        (&["sslmode=require"], SslMode::Require, TlsTrust::Anything),
        (&["sslmode=require", "sslrootcert=/ca.pem"], SslMode::Require, TlsTrust::Signed(file())),
        (&["sslmode=verify-ca", "sslrootcert=/ca.pem"], SslMode::Require, TlsTrust::Signed(file())),
        (&["sslrootcert=/ca.pem", "sslmode=verify-full"], SslMode::Require, TlsTrust::SignedForHost(file())),
        (&["sslmode=verify-full"], SslMode::Require, TlsTrust::SignedForHost(TrustRoots::System)),
        (&["sslmode=verify-full", "sslrootcert=system"], SslMode::Require, TlsTrust::SignedForHost(TrustRoots::System)),
        (&["sslrootcert=system"], SslMode::Require, TlsTrust::SignedForHost(TrustRoots::System)),
    ] {
        let url = format!("postgresql://u:p@h/d?application_name=x&{}", settings.join("&"));
        assert_eq!(tls(&url), Ok((mode, trust.clone())), "{url}");
        let keyword_values = format!("host=h user = u {} dbname='d'", settings.join(" "));
        assert_eq!(tls(&keyword_values), Ok((mode, trust)), "{keyword_values}");
    }
    assert_eq!(tls("postgres:///d?host=/run/postgresql&sslmode=require"), Ok((SslMode::Disable, TlsTrust::Anything)));
}

#[test]
fn a_value_may_be_quoted() {
    for (text, expected) in [
        ("", Some(("", 0))),
        ("a b", Some(("a", 1))),
        (r"a\ b c", Some(("a b", 4))),
        ("'a b' c", Some(("a b", 5))),
        (r"'it\'s' c", Some(("it's", 7))),
        (r"'a\\' c", Some((r"a\", 5))),
        ("'a", None),
        (r"a\", None),
    ] {
        assert_eq!(parse_value(text), expected.map(|(value, length)| (value.to_owned(), length)), "{text:?}");
    }
    let address = DatabaseAddress::parse(r"host=h user=u password='it\'s a \\' port=99").unwrap();
    assert_eq!(address.config.get_password(), Some(&br"it's a \"[..]));
    assert_eq!(address.place(), "h:99");
}

#[test]
fn the_place_names_each_host() {
    for (url, expected) in [
        ("postgres://u:secret@db.example/d", "db.example:5432"),
        ("postgres://u@a:1,b:2/d", "a:1, b:2"),
        ("postgres://u@[::1]:7/d", "[::1]:7"),
        ("postgres:///d?host=/run/postgresql", "/run/postgresql"),
        ("hostaddr=127.0.0.1 user=u", "127.0.0.1"),
    ] {
        assert_eq!(DatabaseAddress::parse(url).unwrap().place(), expected, "{url}");
    }
}

#[test]
fn a_bad_address_is_reported_without_quoting_it() {
    for url in [
        "postgres://u:sec@ret@h/d",
        "postgres://u:sec/ret@h/d",
        "postgres://u:sec?ret@h/d",
        "postgres://u:1/sec@ret",
        "postgres://u:1?sec@ret=1",
        "postgres://u:p@h:sec/d",
        "postgres://u@h/d?password=p&secret=1",
        "postgres://u:p@h/d?SECRET=1",
        "postgres://u:p@h/d?sec%20ret=1",
        "postgres://u:p@h/d?sslmode=secret",
        "postgres://u:p@h/d?sslrootcert=system&sslmode=require",
        "postgres://u:p@h/d?sslcert=secret",
        "postgres://",
        "mysql://u:secret@h/d",
        "secret",
        "host=h password='secret",
        "host=h sec ret=1",
        "user=secret",
        "host=h password=p secret=1",
        "host=h secret='1' password=p",
    ] {
        let sentence = DatabaseAddress::parse(url).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(sentence.starts_with("DATABASE_URL "), "{url}: {sentence}");
        assert!(!sentence.to_lowercase().contains("sec"), "{url}: {sentence}");
    }
}

fn assert_unreadable(url: &str, expected: &str) {
    let sentence = DatabaseAddress::parse(url).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(sentence.starts_with(&format!("DATABASE_URL cannot be read: {expected}; ")), "{url}: {sentence}");
}

#[test]
fn an_unknown_parameter_is_named_unless_it_may_be_a_piece_of_a_password() {
    for (url, expected) in [
        ("postgres://u:p@h/d?no_such=1", "the parameter no_such is not supported, leave it out"),
        ("host=h user=u no_such=1", "the parameter no_such is not supported, leave it out"),
        ("postgres://u@h/d?password=p&requirepeer=x", "the parameter requirepeer is not supported, leave it out"),
        ("postgres://u@h/d?password=p&no_such=1", "it has a part that cannot be recognized"),
    ] {
        assert_unreadable(url, expected);
    }
}

#[test]
fn an_invalid_value_is_reported_by_the_name_of_its_parameter() {
    for (url, expected) in [
        ("postgres://u:p@h/d?connect_timeout=x", "its connect_timeout is not valid"),
        ("postgres://u:p@h/d?keepalives_retries=x", "its keepalives_retries is not valid"),
        ("postgres://u:p@h:x/d", "its port is not valid"),
    ] {
        assert_unreadable(url, expected);
    }
}

#[test]
fn an_sslmode_that_is_not_supported_or_would_check_less_than_it_says_is_refused() {
    for (settings, expected) in [
        ("sslmode=verify-ca", "without a CA to trust"),
        ("sslmode=verify-ca&sslrootcert=", "without a CA to trust"),
        ("sslmode=verify-ca&sslrootcert=system", "sslrootcert=system with a weaker sslmode"),
        ("sslmode=require&sslrootcert=system", "sslrootcert=system with a weaker sslmode"),
        ("sslmode=disable&sslrootcert=system", "sslrootcert=system with a weaker sslmode"),
        ("sslmode=allow", "write sslmode=prefer"),
        ("sslmode=allow&sslrootcert=system", "write sslmode=prefer"),
    ] {
        let sentence = tls(&format!("postgres://u:p@h/d?{settings}")).unwrap_err();
        assert!(sentence.contains(expected), "{settings}: {sentence}");
    }
}
