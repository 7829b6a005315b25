//! Purges: their records, what they cover, and the requests for them.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::freshness::ExchangeTimes;
use http_semantics::fields::HeaderSection;
use kv_store::limits::KEY_BYTES_MAX;

fn metadata(requested_ms: u64, fields: &[(&'static str, &'static str)]) -> StoredMetadata {
    StoredMetadata {
        status: 200,
        fields: fields.iter().copied().collect(),
        times: ExchangeTimes { requested_ms, received_ms: requested_ms + 1 },
        length: 0,
        selecting_fields: Vec::new(),
        epoch_ms: requested_ms,
    }
}

impl PurgeList {
    fn covers_hard(&self, url: &str, metadata: &StoredMetadata) -> bool {
        self.covers(url, metadata) == Some(PurgeMode::Hard)
    }
}

fn url(text: &str) -> PurgeTarget {
    PurgeTarget::Url(text.to_owned())
}

fn prefix(text: &str) -> PurgeTarget {
    PurgeTarget::Prefix(text.to_owned())
}

fn tagged(text: &str) -> PurgeTarget {
    PurgeTarget::Tag(text.to_owned())
}

fn purges(targets: impl IntoIterator<Item = (PurgeTarget, u64)>) -> PurgeList {
    let mut purges = PurgeList::default();
    targets.into_iter().for_each(|(target, at_ms)| purges.add(Purge { mode: PurgeMode::Hard, target, at_ms }));
    purges
}

#[test]
fn a_record_is_read_back_and_a_broken_one_is_an_error() {
    for (target, key, metadata) in [
        (url("https://a/b"), "purge:url:https://a/b", r#"{"url":"https://a/b","atMs":7}"#),
        (prefix("https://a/"), "purge:prefix:https://a/", r#"{"prefix":"https://a/","atMs":7}"#),
        (tagged("x"), "purge:tag:x", r#"{"tag":"x","atMs":7}"#),
    ] {
        let purge = Purge { mode: PurgeMode::Hard, target, at_ms: 7 };
        assert_eq!((purge.key().as_str(), purge.metadata().as_str()), (key, metadata));
        assert_eq!(Purge::parse(metadata), Ok(purge));
    }
    for broken in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"url":"https://a/"}"#,
        r#"{"atMs":7}"#,
        r#"{"prefix":"","atMs":7}"#,
        r#"{"tag":"","atMs":7}"#,
        r#"{"tag":1,"atMs":7}"#,
        r#"{"tag":"x","atMs":-1}"#,
        r#"{"tag":"x","atMs":"7"}"#,
        r#"{"host":"x","atMs":7}"#,
    ] {
        assert!(Purge::parse(broken).is_err(), "{broken}");
    }
}

#[test]
fn a_purge_covers_responses_requested_until_its_time() {
    let address = "https://a.example/b/c?d";
    for (target, covers) in [
        (url("https://a.example/b/c?d"), true),
        (url("https://a.example/b/c"), false),
        (url("https://a.example/b/c?D"), false),
        (prefix("https://a.example/"), true),
        (prefix("https://a.example/b/c?d"), true),
        (prefix("https://a.example/b/c?de"), false),
        (prefix("https://a.example/c"), false),
        (tagged("x"), true),
        (tagged("X"), true),
        (tagged("y z"), true),
        (tagged("key"), true),
        (tagged("ke"), false),
    ] {
        let purges = purges([(target.clone(), 100)]);
        let fields = [("cache-tag", "X, y z"), ("surrogate-key", "other key")];
        assert_eq!(purges.covers_hard(address, &metadata(99, &fields)), covers, "{target:?}");
        assert_eq!(purges.covers_hard(address, &metadata(100, &fields)), covers, "{target:?}: in the same millisecond");
        assert!(!purges.covers_hard(address, &metadata(101, &fields)), "{target:?}");
    }
    assert!(!PurgeList::default().covers_hard(address, &metadata(0, &[])));
}

#[test]
fn the_newest_purge_of_a_target_counts() {
    let one = url("https://a/");
    let purges = purges([(one.clone(), 5), (one.clone(), 9), (one, 7), (tagged("x"), 99)]);
    assert!(purges.covers_hard("https://a/", &metadata(9, &[])));
    assert!(!purges.covers_hard("https://a/", &metadata(10, &[])), "the time of another target does not count");
}

#[test]
fn a_long_url_is_purged_by_its_hash_and_no_other_one_with_it() {
    let long = format!("https://a.example/{}", "a".repeat(8000));
    let purge = Purge { mode: PurgeMode::Hard, target: url(&long), at_ms: 7 };
    let hash = format!("sha256:{:x}", Sha256::digest(&long));
    assert_eq!(purge.key().as_str(), format!("purge:url:{hash}"));
    assert_eq!(purge.metadata(), format!(r#"{{"url":"{hash}","atMs":7}}"#));
    let read = Purge::parse(&purge.metadata()).unwrap();
    assert_eq!(read.key(), purge.key());
    for purge in [purge, read] {
        let purges = purges([(purge.target, purge.at_ms)]);
        assert!(purges.covers_hard(&long, &metadata(7, &[])));
        assert!(!purges.covers_hard(&format!("{long}a"), &metadata(7, &[])));
    }
}

#[test]
fn records_stay_within_the_limits_of_keys_and_metadata_and_expire() {
    let text = "\\".repeat(TEXT_BYTES_MAX);
    let longer = "\\".repeat(TEXT_BYTES_MAX + 1);
    for target in [url(&text), prefix(&text), tagged(&text), url(&longer)] {
        let purge = Purge { mode: PurgeMode::Hard, target, at_ms: u64::MAX };
        assert!(purge.key().as_str().len() <= KEY_BYTES_MAX);
        assert!(purge.metadata().len() <= 1024, "{}", purge.metadata().len());
    }
    assert_eq!(
        Purge { mode: PurgeMode::Hard, target: url("https://a.example/"), at_ms: 0 }.expiration_ttl_seconds(),
        3600
    );
    for (mode, target) in [
        (PurgeMode::Hard, tagged("a")),
        (PurgeMode::Hard, PurgeTarget::All(true)),
        // Nothing is deleted, so the record has to outlive the responses.
        (PurgeMode::Soft, url("https://a.example/")),
    ] {
        assert_eq!(Purge { mode, target, at_ms: 0 }.expiration_ttl_seconds(), 2_592_000);
    }
}

#[test]
fn tags_are_separated_by_commas_or_white_space_in_any_case() {
    for (fields, expected) in [
        (&[] as &[(&'static str, &'static str)], &[] as &[&str]),
        (&[("cache-tag", "")], &[]),
        (&[("cache-tag", "A,b , c d,,")], &["a", "b", "c d"]),
        (&[("cache-tag", "a"), ("cache-tag", "b")], &["a", "b"]),
        (&[("surrogate-key", "A  b\tc,d")], &["a", "b", "c,d"]),
        (&[("surrogate-key", "a b"), ("surrogate-key", "c")], &["a", "b", "c"]),
        (&[("surrogate-key", "s"), ("cache-tag", "t")], &["t", "s"]),
    ] {
        assert_eq!(tags(&fields.iter().copied().collect::<HeaderSection>()), expected, "{fields:?}");
    }
}

fn allowed() -> OriginAllowList {
    OriginAllowList::parse("https://a.example,http://[::1]:8788", &[])
}

fn request(body: &str) -> Result<Vec<PurgeTarget>, String> {
    let request = parse_request(body.as_bytes(), &allowed()).map_err(|error| error.to_string())?;
    assert_eq!(request.mode, PurgeMode::Hard, "{body}");
    Ok(request.targets)
}

#[test]
fn a_request_names_urls_prefixes_and_tags_which_come_out_canonical() {
    for (body, targets) in [
        (r#"{"url": "HTTPS://A.example:443"}"#, vec![url("https://a.example/")]),
        (r#"{"url": "https://a.example/b/../c?d#e"}"#, vec![url("https://a.example/c?d")]),
        (r#"{"url": "http://[0:0:0:0:0:0:0:1]:8788/{x}"}"#, vec![url("http://[::1]:8788/%7Bx%7D")]),
        (r#"{"prefix": "https://A.example"}"#, vec![prefix("https://a.example/")]),
        (r#"{"prefix": "https://a.example/b"}"#, vec![prefix("https://a.example/b")]),
        (r#"{"prefix": "https://a.example/."}"#, vec![prefix("https://a.example/.")]),
        (r#"{"prefix": "https://a.example/b/.."}"#, vec![prefix("https://a.example/b/..")]),
        (r#"{"prefix": "https://a.example/t%c3%bc%7e"}"#, vec![prefix("https://a.example/t%C3%BC~")]),
        (r#"{"url": "https://a.example/t%c3%bc?%7e"}"#, vec![url("https://a.example/t%C3%BC?~")]),
        (r#"{"prefix": "https://a.example?b=../c"}"#, vec![prefix("https://a.example/?b=../c")]),
        (r#"{"tag": " Shop-1 "}"#, vec![tagged("shop-1")]),
        (
            r#"{"tags": ["x", "X", "y"], "tag": "z", "urls": ["https://a.example/"], "prefixes": ["https://a.example/"]}"#,
            vec![url("https://a.example/"), prefix("https://a.example/"), tagged("z"), tagged("x"), tagged("y")],
        ),
    ] {
        assert_eq!(request(body), Ok(targets), "{body}");
    }
}

#[test]
fn faults_of_a_request_are_named_with_their_place() {
    for (body, sentence) in [
        ("", "not a JSON object at line 1, column 1"),
        ("[]", "not a JSON object at line 1, column 1"),
        ("{}", "it names no url, prefix or tag, and not all"),
        (r#"{"urls": [], "tags": []}"#, "it names no url, prefix or tag, and not all"),
        (r#"{"url": 1}"#, "url: it must be a string"),
        (r#"{"url": null}"#, "url: it must not be null; leave it out"),
        (r#"{"urls": "https://a.example/"}"#, "urls: it must be an array"),
        (
            r#"{"everything": true}"#,
            "everything: unknown member; known: url, urls, prefix, prefixes, tag, tags, all, soft",
        ),
        (
            r#"{"urls": ["https://a.example/", "a.example"], "tag": ""}"#,
            "urls[1]: it does not start with http:// or https://; tag: it is empty",
        ),
        (r#"{"url": "https://b.example/"}"#, "url: the origin https://b.example is not on the list CACHE_UPSTREAMS"),
        (
            r#"{"prefix": "https://b.example"}"#,
            "prefix: the origin https://b.example is not on the list CACHE_UPSTREAMS",
        ),
        (r#"{"prefix": "https://"}"#, "prefix: its host or port is not valid"),
        (r#"{"prefix": "https://u@a.example"}"#, "prefix: it has a user name or password"),
        (r#"{"prefix": "https://a.example/b%2"}"#, "prefix: it ends within a percent-escape"),
        (r#"{"prefix": ""}"#, "prefix: it does not start with http:// or https://"),
        (r#"{"url": "https://a.example/é"}"#, "url: it has characters that must be percent-encoded in a URL"),
        (r#"{"prefix": "https://a.example/a b"}"#, "prefix: it has characters that must be percent-encoded in a URL"),
        (r#"{"tag": "é"}"#, "tag: it has characters that are not printable ASCII"),
        (r#"{"tag": "a\nb"}"#, "tag: it has characters that are not printable ASCII"),
    ] {
        assert_eq!(request(body), Err(format!("The purge is not valid: {sentence}.")), "{body}");
    }
    for path in ["/#", "/b\\\\c", "/../b", "/b/%2E/c", "/b/..?c", "?#"] {
        let body = format!(r#"{{"prefix": "https://a.example{path}"}}"#);
        assert!(request(&body).unwrap_err().contains("no URL in the cache begins with it"), "{body}");
    }
    assert_eq!(
        parse_request(b"{\"tag\":\"\xff\"}", &allowed()).unwrap_err().to_string(),
        "The purge is not valid: it is not UTF-8."
    );
}

#[test]
fn a_request_is_bounded_in_bytes_targets_and_their_length() {
    let tags = |count: usize| (0..count).map(|index| format!("\"{index}\"")).collect::<Vec<_>>().join(",");
    assert_eq!(request(&format!(r#"{{"tags": [{}]}}"#, tags(30))).unwrap().len(), 30);
    assert_eq!(
        request(&format!(r#"{{"tags": [{}]}}"#, tags(31))),
        Err("The purge is not valid: tags: it has 31 elements; at most 30 are allowed.".to_owned())
    );
    assert_eq!(
        request(&format!(r#"{{"tag": "x", "tags": [{}]}}"#, tags(30))),
        Err("The purge is not valid: it names 31 targets; at most 30 are allowed.".to_owned())
    );
    let longest = "x".repeat(TEXT_BYTES_MAX);
    assert_eq!(request(&format!(r#"{{"tag": "{longest}"}}"#)), Ok(vec![tagged(&longest)]));
    for body in [format!(r#"{{"tag": "{longest}x"}}"#), format!(r#"{{"prefix": "https://a.example/{longest}"}}"#)] {
        assert!(request(&body).unwrap_err().contains("it has more than 480 bytes"), "{body}");
    }
    let long = format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX));
    assert!(request(&format!(r#"{{"url": "{long}"}}"#)).unwrap_err().contains("it has more than 8192 bytes"));
    let spaces = " ".repeat(REQUEST_BYTES_MAX);
    assert_eq!(request(&spaces[..REQUEST_BYTES_MAX - 9]).unwrap_err(), request("").unwrap_err());
    assert_eq!(request(&format!("{spaces} ")), Err("The purge has more than 64 KiB.".to_owned()));
}

#[test]
fn a_request_purges_everything_or_softly_only_if_it_says_so() {
    let parse = |body: &str| parse_request(body.as_bytes(), &allowed()).map_err(|error| error.to_string());
    for (body, targets, mode) in [
        (r#"{"all": true}"#, vec![PurgeTarget::All(true)], PurgeMode::Hard),
        (r#"{"all": true, "soft": true}"#, vec![PurgeTarget::All(true)], PurgeMode::Soft),
        (r#"{"tag": "x", "soft": true}"#, vec![tagged("x")], PurgeMode::Soft),
        (r#"{"tag": "x", "soft": false, "all": false}"#, vec![tagged("x")], PurgeMode::Hard),
    ] {
        assert_eq!(parse(body), Ok(PurgeRequest { targets, mode }), "{body}");
    }
    for (body, problem) in [
        (r#"{"all": false}"#, "it names no url, prefix or tag, and not all"),
        (r#"{"soft": true}"#, "it names no url, prefix or tag, and not all"),
        (r#"{"all": 1}"#, "it is not true or false"),
        (r#"{"tag": "x", "soft": "true"}"#, "it is not true or false"),
    ] {
        assert!(parse(body).unwrap_err().contains(problem), "{body}");
    }
}

#[test]
fn a_soft_purge_and_a_purge_of_all_have_records_of_their_own() {
    for (target, key, metadata) in [
        (tagged("x"), "purge:soft:tag:x", r#"{"tag":"x","soft":true,"atMs":7}"#),
        (PurgeTarget::All(true), "purge:soft:all", r#"{"all":true,"soft":true,"atMs":7}"#),
    ] {
        let purge = Purge { target, mode: PurgeMode::Soft, at_ms: 7 };
        assert_eq!((purge.key().as_str(), purge.metadata().as_str()), (key, metadata));
        assert_eq!(Purge::parse(metadata), Ok(purge));
    }
    let all = Purge { target: PurgeTarget::All(true), mode: PurgeMode::Hard, at_ms: 7 };
    assert_eq!((all.key().as_str(), all.metadata().as_str()), ("purge:all", r#"{"all":true,"atMs":7}"#));
    assert!(Purge::parse(r#"{"all":false,"atMs":7}"#).is_err());
}

fn mode() -> impl Strategy<Value = PurgeMode> {
    prop_oneof![Just(PurgeMode::Hard), Just(PurgeMode::Soft)]
}

fn target() -> impl Strategy<Value = PurgeTarget> {
    prop_oneof![
        "https://a/[ab]{0,3}".prop_map(PurgeTarget::Url),
        "https://a/[ab]{0,3}".prop_map(PurgeTarget::Prefix),
        "[abAB]{1,2}".prop_map(PurgeTarget::Tag),
        Just(PurgeTarget::All(true)),
    ]
}

proptest! {
    #[test]
    fn covers_agrees_with_comparing_every_purge(
        targets in prop::collection::vec((target(), mode(), 0..20_u64), 0..12),
        address in "https://a/[ab]{0,3}", requested_ms in 0..20_u64, tag_list in "[abAB]{1,2}(,[abAB]{1,2})?"
    ) {
        let mut metadata = metadata(requested_ms, &[]);
        metadata.fields = [("cache-tag", tag_list.as_str())].into_iter().collect();
        let is_covered = |of: PurgeMode| targets.iter().any(|(target, mode, at_ms)| {
            *mode == of && requested_ms <= *at_ms && match target {
                PurgeTarget::Url(url) => *url == address,
                PurgeTarget::Prefix(prefix) => address.starts_with(prefix),
                PurgeTarget::Tag(tag) => tag_list.split(',').any(|tagged| tagged.eq_ignore_ascii_case(tag)),
                PurgeTarget::All(_) => true,
            }
        });
        let naive = [PurgeMode::Hard, PurgeMode::Soft].into_iter().find(|mode| is_covered(*mode));
        let (mut here, mut elsewhere) = (PurgeList::default(), PurgeList::default());
        for (target, mode, at_ms) in targets {
            let purge = Purge { target, mode, at_ms };
            elsewhere.add(Purge::parse(&purge.metadata()).unwrap());
            here.add(purge);
        }
        prop_assert_eq!(here.covers(&address, &metadata), naive);
        prop_assert_eq!(elsewhere.covers(&address, &metadata), naive, "through KV");
    }

    #[test]
    fn other_targets_and_modes_have_other_keys(
        one in (target(), mode()), other in (target(), mode()), is_long in any::<bool>(), at_ms in any::<u64>()
    ) {
        let lengthened = |target: PurgeTarget| match target {
            PurgeTarget::Url(url) if is_long => PurgeTarget::Url(url + &"/".repeat(TEXT_BYTES_MAX)),
            target => target,
        };
        let keys = [&one, &other].map(|(target, mode)| {
            Purge { target: lengthened(target.clone()), mode: *mode, at_ms }.key()
        });
        prop_assert_eq!(keys[0] == keys[1], one == other);
    }

    #[test]
    fn an_accepted_prefix_covers_a_url_that_begins_with_it(path in "(/[a-z.{%2]{0,4}){0,3}(\\?[a-z'/]{0,4})?") {
        let text = format!("https://a.example{path}");
        let Ok(targets) = request(&serde_json::json!({"prefix": text}).to_string()) else { return Ok(()) };
        let Ok(cached) = CachedUrl::of_href(&format!("{text}x"), &allowed()) else { return Ok(()) };
        let purges = purges(targets.into_iter().map(|target| (target, 1)));
        prop_assert!(purges.covers_hard(cached.as_str(), &metadata(1, &[])), "{}", cached.as_str());
    }
}
