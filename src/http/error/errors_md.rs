//! Generates `docs/errors.md` from the errors, and checks rules that they follow.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use feature_flags::ofrep::OfrepError;
use http_semantics::error_response::{ErrorResponse, HttpError};
use http_semantics::status::Status;

type ErrorRow = (ErrorResponse, &'static str);

const HEAD: &str = "\
# Errors

You got an error from the Worker, and want to know what it means. Look for its code or its sentence
below. Values in the sentences, such as `tea` or 513, are examples.

```sh
curl -s -H 'Accept: application/json' http://localhost:8787/cache/https://other.example/
```

```text
{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403,\"code\":\"upstream_not_allowed\",…}
```

A client that names `application/json` or `application/problem+json` in `Accept` gets problem
details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) with the status, its phrase as
`title`, the code and the sentence as `detail`. So does every client of `/writes/…`, `/ofrep/…`,
`/console/api/…`, `/metrics`, `POST /cache/purge` and `POST /config`. `/client/v4/…` has the
envelope of its own API. Everybody else gets the sentence alone. The code of a problem stays the
same between releases; sentences may change. A 5xx carries `X-Request-Id`, which names the line in
the log that says what happened.

";

const FLAGS: &str = "
## Flags

`POST /ofrep/v1/evaluate/flags` and `…/{key}` respond in the form of the OpenFeature Remote
Evaluation Protocol: the code is `errorCode`, the sentence `errorDetails`. If one flag of several
cannot be evaluated, its entry in the list has both. A method that is not allowed and a fault of
the service get problem details.

";

const KV_API: &str = "
## The KV REST API

`/client/v4/…` responds in the envelope of Cloudflare's API: `errors[0].code` is the number,
`errors[0].message` the sentence. The numbers are those of Cloudflare if they are known. Errors of
the first table, such as those of a request's body and of Workers KV, keep their sentence. Their
number is 10012 for 400, 408 and 411, 10022 for 413, 10429 for 429, and 10001 for any other status.

";

/// Returns true if a code is a number of Cloudflare's API.
fn is_number(code: &str) -> bool {
    code.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the rows of one type.
pub(super) fn rows<E: HttpError>() -> Vec<ErrorRow> {
    E::examples().iter().map(|(error, meaning)| (error.response(), *meaning)).collect()
}

/// Writes a table, sorted by status and code. Rows of the same response are one: an error that
/// wraps another responds as that one does.
fn table(page: &mut String, mut rows: Vec<ErrorRow>) {
    page.push_str("| Status | Code | Sentence | What it means | Fields |\n|---|---|---|---|---|\n");
    rows.sort_by_key(|(error, _)| (error.status(), error.code(), error.sentence().to_owned()));
    rows.dedup_by(|(later, _), (error, _)| later == error);
    for (error, meaning) in rows {
        let (status, code) = (error.status(), error.code());
        let sentence = error.sentence().replace('<', "&lt;").replace('|', "\\|");
        let fields: Vec<String> = error.fields().map(|(name, value)| format!("`{name}: {value}`")).collect();
        let (number, phrase, fields) = (status.code(), status.phrase(), fields.join(", "));
        writeln!(page, "| {number} {phrase} | `{code}` | {sentence} | {meaning} | {fields} |").unwrap();
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let (of_kv_api, others) = super::all_rows().into_iter().partition(|(error, _)| is_number(error.code()));
    table(&mut page, others);
    page.push_str(FLAGS);
    table(&mut page, rows::<OfrepError>());
    page.push_str(KV_API);
    table(&mut page, of_kv_api);
    page
}

#[test]
fn errors_md_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    if std::env::var_os("WRITE_ERRORS_MD").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let hint = "docs/errors.md differs from the code. Regenerate it: WRITE_ERRORS_MD=1 cargo test -p kv-edge errors_md";
    assert!(written == page(), "{hint}");
}

#[test]
fn every_error_has_the_field_that_goes_with_its_status() {
    for (error, _) in [super::all_rows(), rows::<OfrepError>()].concat() {
        let field = match error.status() {
            Status::Unauthorized => "WWW-Authenticate",     // RFC 9110 §15.5.2
            Status::MethodNotAllowed => "Allow",            // RFC 9110 §15.5.6
            Status::RangeNotSatisfiable => "Content-Range", // RFC 9110 §15.5.17
            // RFC 9110 §15.6.4 and RFC 6585 §4 allow it; here it is always sent.
            Status::TooManyRequests | Status::ServiceUnavailable => "Retry-After",
            _ => continue,
        };
        assert!(error.field(field).is_some(), "{error:?}");
    }
}

#[test]
fn a_sentence_does_not_contain_another_text_that_is_for_the_log() {
    for (error, _) in [super::all_rows(), rows::<OfrepError>()].concat() {
        let (sentence, cause) = (error.sentence(), error.cause());
        assert!(cause == sentence || !sentence.contains(cause), "{error:?}");
    }
}

#[test]
fn codes_but_those_of_flags_are_snake_case_or_numbers_of_the_kv_api() {
    for (error, _) in super::all_rows() {
        let is_word = error.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_word || is_number(error.code()), "{error:?}");
    }
}
