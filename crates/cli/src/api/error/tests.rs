use super::*;

const DOWN: FailureClass = FailureClass::Unavailable { retry_after_ms: None };

#[test]
fn only_transient_errors_are_classed_as_retryable() {
    for (status, code, class) in [
        (400, Some(10_001), FailureClass::Permanent),
        (401, Some(10_000), FailureClass::Permanent),
        (403, None, FailureClass::Permanent),
        (404, Some(10_013), FailureClass::Permanent),
        (413, None, FailureClass::Permanent),
        (302, None, FailureClass::Permanent),
        (429, None, FailureClass::RateLimited { retry_after_ms: Some(7) }),
        (429, Some(DAILY_LIMIT), FailureClass::Permanent),
        (500, None, FailureClass::Unavailable { retry_after_ms: Some(7) }),
        (503, Some(10_001), FailureClass::Unavailable { retry_after_ms: Some(7) }),
    ] {
        assert_eq!(ApiAttemptError::of_status(status, code, Some(""), Some(7)).class, class, "{status} {code:?}");
        assert_eq!(ApiAttemptError::of_status(status, code, None, Some(7)).class, class, "{status} {code:?}, no JSON");
    }
    assert_eq!(ApiAttemptError::not_the_api(200).class, FailureClass::Permanent);
    assert_eq!(ApiAttemptError::unsuccessful(&["a".to_owned()]).class, DOWN);
}

#[test]
fn a_failed_connect_is_permanent_before_the_first_response_only_and_a_broken_connection_never() {
    let io = |kind: ErrorKind| ureq::Error::Io(kind.into());
    for (error, first, later) in [
        (io(ErrorKind::ConnectionRefused), FailureClass::Permanent, DOWN),
        (io(ErrorKind::NetworkUnreachable), FailureClass::Permanent, DOWN),
        (ureq::Error::Io(std::io::Error::other("failed to lookup")), FailureClass::Permanent, DOWN),
        (ureq::Error::HostNotFound, FailureClass::Permanent, DOWN),
        (ureq::Error::Timeout(Timeout::Connect), FailureClass::Permanent, DOWN),
        (io(ErrorKind::ConnectionReset), DOWN, DOWN),
        (io(ErrorKind::UnexpectedEof), DOWN, DOWN),
        (io(ErrorKind::BrokenPipe), DOWN, DOWN),
        (ureq::Error::Timeout(Timeout::Global), DOWN, DOWN),
        (ureq::Error::Timeout(Timeout::PerRead), DOWN, DOWN),
        (ureq::Error::BodyExceedsLimit(7), FailureClass::Permanent, FailureClass::Permanent),
        (ureq::Error::Tls("no"), FailureClass::Permanent, FailureClass::Permanent),
        (io(ErrorKind::InvalidData), FailureClass::Permanent, FailureClass::Permanent),
    ] {
        assert_eq!(ApiAttemptError::of_transport(&error, false).class, first, "{error}");
        assert_eq!(ApiAttemptError::of_transport(&error, true).class, later, "{error}");
    }
}

fn failed(kind: ApiErrorKind) -> ApiError {
    ApiError {
        what: "write 3 keys".to_owned(),
        kind,
        unsuccessful_keys: 3,
        tries: 1,
        gave_up: GaveUp::Permanent,
        base: "http://h:1/x".into(),
        service: ApiService::Kv,
        names: &ArgumentNames::SOURCE,
    }
}

fn check(kind: ApiErrorKind, tries: u32, gave_up: GaveUp, is_local: bool, expected: &str) {
    let service = if is_local { ApiService::LocalKv } else { ApiService::Kv };
    let error = ApiError { tries, gave_up, service, ..failed(kind) };
    assert_eq!(error.to_string(), expected);
}

#[test]
fn each_error_response_is_a_sentence_that_says_what_to_do() {
    let status = |status, code, message: &str| ApiErrorKind::Status { status, code, message: Some(message.to_owned()) };
    for (kind, tries, gave_up, is_local, expected) in [
        (
            status(403, Some(10_000), "Authentication error"),
            1,
            GaveUp::Permanent,
            false,
            "cannot write 3 keys: the API responds with 403, \"Authentication error\" (code 10000); the token in CLOUDFLARE_API_TOKEN \
             needs the permission \"Workers KV Storage: Edit\" on the account of --account",
        ),
        (
            status(400, Some(6003), "Invalid request headers"),
            1,
            GaveUp::Permanent,
            false,
            "cannot write 3 keys: the API responds with 400, \"Invalid request headers\" (code 6003); the token in \
             CLOUDFLARE_API_TOKEN needs the permission \"Workers KV Storage: Edit\" on the account of --account",
        ),
        (
            status(400, Some(10_001), "bad"),
            1,
            GaveUp::Permanent,
            true,
            "cannot write 3 keys: the API responds with 400, \"bad\" (code 10001); trying again would fail too: \
             the message says why",
        ),
        (
            status(404, Some(10_013), "namespace not found"),
            1,
            GaveUp::Permanent,
            false,
            "cannot write 3 keys: the API responds with 404, \"namespace not found\" (code 10013); check --namespace and --account; \
             `npx wrangler kv namespace list` shows what exists",
        ),
        (
            status(429, Some(DAILY_LIMIT), "for today"),
            1,
            GaveUp::Permanent,
            false,
            "cannot write 3 keys: the API responds with 429, \"for today\" (code 10048); continue after 00:00 \
             UTC, or upgrade to the paid plan",
        ),
        (
            status(429, None, "slow down"),
            8,
            GaveUp::Tries,
            false,
            "cannot write 3 keys: the API responds with 429, \"slow down\", tried 8 times; run it again in five \
             minutes (an account may make 1,200 calls in that time), what was written stays",
        ),
        (
            status(503, None, "down"),
            4,
            GaveUp::Deadline,
            false,
            "cannot write 3 keys: the API responds with 503, \"down\", tried 4 times; run it again, what was \
             written stays; \
             --deadline SECONDS gives each call more time",
        ),
    ] {
        check(kind, tries, gave_up, is_local, expected);
    }
}

#[test]
fn each_other_failure_is_a_sentence_that_says_what_to_do() {
    for (kind, tries, gave_up, is_local, expected) in [
        (
            ApiErrorKind::NotTheApi(502),
            8,
            GaveUp::Tries,
            false,
            "cannot write 3 keys: the response, status 502, does not come from the API, tried 8 times; run it \
             again later, what was written stays; https://www.cloudflarestatus.com reports outages",
        ),
        (
            ApiErrorKind::NotTheApi(200),
            1,
            GaveUp::Permanent,
            false,
            "cannot write 3 keys: the response, status 200, does not come from the API; check the address of \
             the API, which is \
             http://h:1/x (--api-base)",
        ),
        (
            ApiErrorKind::Unsuccessful(2, Some("a".to_owned())),
            8,
            GaveUp::Tries,
            true,
            "cannot write 3 keys: the API did not take 2 keys, such as \"a\", tried 8 times; check the output of \
             `wrangler dev` and run it again: what was written stays",
        ),
        (
            ApiErrorKind::Unreachable("Connection refused".to_owned()),
            1,
            GaveUp::Permanent,
            true,
            "cannot write 3 keys: cannot connect (Connection refused); run `npm start` or `npx wrangler dev` \
             first, or give its address: --local=URL (http://h:1/x)",
        ),
        (
            ApiErrorKind::ResponseTooLong,
            1,
            GaveUp::Permanent,
            false,
            "cannot write 3 keys: the response is longer than 64 MiB; no response of the API is that long; check \
             its address, which is http://h:1/x (--api-base)",
        ),
        (
            ApiErrorKind::OutOfTime,
            1,
            GaveUp::Permanent,
            false,
            "cannot write 3 keys: it ran out of time; run it again, what was written stays; --deadline SECONDS \
             gives each call more time",
        ),
    ] {
        check(kind, tries, gave_up, is_local, expected);
    }
}

#[test]
fn a_silent_connection_counts_as_broken_and_a_call_past_its_deadline_does_not() {
    for (timeout, expected) in [
        (Timeout::Global, "it ran out of time"),
        (Timeout::PerRead, "the connection broke (nothing was transferred for 120 s)"),
        (Timeout::PerWrite, "the connection broke (nothing was transferred for 120 s)"),
    ] {
        let failed = ApiAttemptError::of_transport(&ureq::Error::Timeout(timeout), true);
        assert_eq!(failed.kind.to_string(), expected, "{timeout:?}");
    }
}

#[test]
fn an_error_of_a_destination_names_the_arguments_of_the_destination() {
    let status = |status| ApiAttemptError::of_status(status, None, Some("x"), None).kind;
    for (kind, service, expected) in [
        (
            status(403),
            ApiService::Kv,
            "the token in TO_CLOUDFLARE_API_TOKEN needs the permission \"Workers KV Storage: Edit\" on the account of \
             --to-account",
        ),
        (
            status(404),
            ApiService::Kv,
            "check --to-namespace and --to-account; `npx wrangler kv namespace list` shows what exists",
        ),
        (status(302), ApiService::Kv, "check the address of the API, which is http://h:1/x (--to-api-base)"),
        (
            ApiErrorKind::NotTheApi(200),
            ApiService::Kv,
            "check the address of the API, which is http://h:1/x (--to-api-base)",
        ),
        (
            ApiErrorKind::Unreachable("refused".to_owned()),
            ApiService::Kv,
            "check the network, the proxy and --to-api-base (http://h:1/x)",
        ),
        (
            ApiErrorKind::Unreachable("refused".to_owned()),
            ApiService::LocalKv,
            "run `npm start` or `npx wrangler dev` first, or give its address: --to-local=URL (http://h:1/x)",
        ),
    ] {
        let names = &ArgumentNames::DESTINATION;
        let sentence = ApiError { service, names, ..failed(kind) }.to_string();
        assert_eq!(sentence.split_once("; ").unwrap().1, expected);
    }
    let sentence = ApiError { names: &ArgumentNames::DESTINATION_WITH_SOURCE_TOKEN, ..failed(status(401)) }.to_string();
    assert!(sentence.contains("the token in CLOUDFLARE_API_TOKEN needs"), "{sentence}");
    assert!(sentence.ends_with("on the account of --to-account"), "{sentence}");
}

#[test]
fn a_message_of_the_api_is_bounded_and_one_line() {
    let failed = ApiAttemptError::of_status(400, None, Some(&format!("a\n\x1b[31m{}", "€".repeat(1000))), None);
    let ApiErrorKind::Status { message: Some(message), .. } = failed.kind.printable(None) else { panic!() };
    assert!(message.starts_with("a  [31m€") && message.chars().count() == 300, "{message}");
}

#[test]
fn a_token_in_a_response_is_not_shown_even_if_truncation_cuts_it() {
    const TOKEN: &str = "sekrit-token-123";
    let cut = format!("{}Bearer {TOKEN}", "x".repeat(MESSAGE_MAX - 12));
    for message in [format!("proxy refused Bearer {TOKEN}"), cut, format!("{TOKEN}{TOKEN}")] {
        for kind in [
            ApiAttemptError::of_status(503, None, Some(&message), None).kind,
            ApiErrorKind::Unreachable(message.clone()),
            ApiErrorKind::Tls(message.clone()),
            ApiErrorKind::Interrupted(message.clone()),
        ] {
            let sentence = kind.printable(Some(TOKEN)).to_string();
            assert!(sentence.contains('…') && !sentence.contains("sekri"), "{sentence}");
        }
    }
}

#[test]
fn a_redacted_error_names_no_key() {
    let status = ApiAttemptError::of_status(400, Some(10_012), Some("the key \"user-7\" is bad"), None);
    for (failed, expected) in [
        (status, "the API responds with 400 (code 10012)"),
        (ApiAttemptError::of_status(503, None, Some("user-7"), None), "the API responds with 503"),
        (ApiAttemptError::unsuccessful(&["user-7".to_owned()]), "the API did not take one key"),
        (ApiAttemptError::unsuccessful(&["user-7".to_owned(), "user-8".to_owned()]), "the API did not take 2 keys"),
        (ApiAttemptError::not_the_api(502), "the response, status 502, does not come from the API"),
    ] {
        let class = failed.class;
        let redacted = failed.redacted();
        assert_eq!((redacted.kind.to_string().as_str(), redacted.class), (expected, class));
    }
    let bad = |message| ApiAttemptError::of_status(400, None, Some(message), None).redacted().kind;
    let expected = "cannot write 3 keys: the API responds with 400; trying again would fail too";
    check(bad(""), 1, GaveUp::Permanent, false, expected);
    let expected = "cannot write 3 keys: the API responds with 400; its message is hidden because it may name \
     keys; trying again would fail too";
    check(bad("user-7"), 1, GaveUp::Permanent, false, expected);
}

#[test]
fn errors_of_token_namespace_daily_limit_or_address_affect_all_calls() {
    let of_status = |status, code| ApiAttemptError::of_status(status, code, Some("x"), None).kind;
    for (kind, expected) in [
        (of_status(401, None), true),
        (of_status(403, Some(10_000)), true),
        (of_status(404, Some(10_013)), true),
        (of_status(400, Some(6003)), true),
        (of_status(429, Some(DAILY_LIMIT)), true),
        (ApiErrorKind::Unreachable("refused".to_owned()), true),
        (ApiErrorKind::Tls("expired".to_owned()), true),
        (ApiErrorKind::NotTheApi(200), true),
        (of_status(400, Some(10_012)), false),
        (of_status(413, None), false),
        (of_status(429, None), false),
        (of_status(500, None), false),
        (ApiErrorKind::NotTheApi(413), false),
        (ApiErrorKind::NotTheApi(502), false),
        (ApiErrorKind::Unsuccessful(1, None), false),
        (ApiErrorKind::Interrupted("reset".to_owned()), false),
        (ApiErrorKind::ResponseTooLong, false),
        (ApiErrorKind::OutOfTime, false),
    ] {
        let error = failed(kind);
        assert_eq!(error.affects_all_calls(), expected, "{error}");
    }
}

#[test]
fn a_bulk_read_is_divided_if_fewer_keys_may_succeed() {
    let of_status = |status, code| ApiAttemptError::of_status(status, code, Some("x"), None).kind;
    for (kind, expected) in [
        (of_status(400, Some(10_029)), true),
        (of_status(404, None), true),
        (of_status(413, None), true),
        (of_status(500, None), true),
        (ApiErrorKind::NotTheApi(405), true),
        (ApiErrorKind::ResponseTooLong, true),
        (of_status(403, None), false),
        (of_status(429, Some(DAILY_LIMIT)), false),
        (ApiErrorKind::NotTheApi(200), false),
        (ApiErrorKind::Interrupted("reset".to_owned()), false),
        (ApiErrorKind::OutOfTime, false),
    ] {
        let error = failed(kind);
        assert_eq!(error.may_succeed_divided(), expected, "{error}");
    }
}
