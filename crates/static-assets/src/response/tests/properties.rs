//! Properties of every release and every request.

use std::ops::Range;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use http_semantics::conditional::{EntityTag, EntityTagComparison};

/// A file: path, length and chunk size in bytes, encodings, and whether its language is known.
type GeneratedFile = (&'static str, usize, usize, [bool; 3], bool);

const PATHS: [&str; 12] = [
    "/index.html",
    "/a.html",
    "/a.de.html",
    "/a.pt-BR.html",
    "/a/index.html",
    "/a/b.txt",
    "/a/404.html",
    "/404.html",
    "/c",
    "/d.bin",
    "/ü.html",
    "/ü.de.html",
];

fn files() -> impl Strategy<Value = GeneratedFile> {
    (prop::sample::select(PATHS.to_vec()), 0..60_usize, 1..30_usize, any::<[bool; 3]>(), any::<bool>())
}

fn releases() -> impl Strategy<Value = TestRelease> {
    let modes = prop::sample::select(vec![
        HtmlHandling::AutoTrailingSlash,
        HtmlHandling::ForceTrailingSlash,
        HtmlHandling::DropTrailingSlash,
        HtmlHandling::None,
    ]);
    let not_found = prop::sample::select(vec![
        NotFoundHandling::Page,
        NotFoundHandling::SinglePageApplication,
        NotFoundHandling::None,
    ]);
    let rules = prop::sample::select(vec![
        "",
        "/*\n  Vary: Origin\n  Cache-Control: public, max-age=99\n  X-A: :splat",
        "/a*\n  ! ETag\n  ! Content-Type\n  ! Accept-Ranges",
    ]);
    let redirects = prop::sample::select(vec!["", "/a/* /:splat 200", "/x /a 301\n/y/:z /:z 200"]);
    (vec(files(), 0..9), modes, not_found, rules, redirects, option::of(0..2_000_000_000_000_u64)).prop_map(
        |(files, mode, not_found, rules, redirects, rolled_back_ms)| {
            let mut release =
                TestRelease::of(&[]).html_handling(mode).not_found(not_found).headers(rules).redirects(redirects);
            release.pointer.rolled_back_ms = rolled_back_ms;
            for (path, length, chunk, codings, has_language) in files {
                if release.manifest.file(path).is_some() {
                    continue;
                }
                let bytes: Vec<u8> = path.bytes().cycle().take(length).collect();
                release.add(path, &bytes, chunk);
                let all = [(ContentCoding::Br, 21), (ContentCoding::Zstd, 22), (ContentCoding::Gzip, 23)];
                let some: Vec<_> =
                    all.into_iter().zip(codings).filter(|(_, is_there)| *is_there).map(|(one, _)| one).collect();
                release = release.encoded(path, &some);
                if has_language && media_type::of_path(path).is_some_and(|media_type| media_type::is_html(&media_type))
                {
                    release = release.language(path, "en");
                }
            }
            for (page, tag) in [("/a.html", "de"), ("/a.html", "pt-BR"), ("/ü.html", "de")] {
                let translation = page.replace(".html", &format!(".{tag}.html"));
                if release.manifest.file(page).is_some() && release.manifest.file(&translation).is_some() {
                    release = release.translated(page, &[tag]);
                }
            }
            release
        },
    )
}

fn urls() -> impl Strategy<Value = String> {
    let path = prop::sample::select(PATHS.to_vec()).prop_flat_map(|path| {
        let bare = path.trim_end_matches("index.html").trim_end_matches(".html").replace('ü', "%C3%BC");
        let named = path.replace('ü', "%C3%BC");
        prop::sample::select(vec![
            bare.clone(),
            format!("{bare}/"),
            named,
            format!("/{bare}"),
            "/x".into(),
            "/y/c".into(),
            "/a/c".into(),
        ])
    });
    let path = prop_oneof![6 => path, 1 => "/[a-d./%]{0,8}"];
    (path, option::of(prop::sample::select(vec!["lang=de", "lang=en", "lang=xx", "", "a&lang=pt"])))
        .prop_map(|(path, query)| query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")))
}

/// The header fields of negotiation and the preconditions, with values that are valid, odd or
/// missing.
fn fields() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let tag = "(W/)?\"[a-f0-9]{0,3}\"|\\*|[a-z]{0,3}";
    let date =
        prop_oneof![Just(BEFORE.to_owned()), Just(MODIFIED.to_owned()), Just(AFTER.to_owned()), "[a-z]{0,4}".boxed()];
    let coding = "((br|zstd|gzip|identity|\\*|x)(;q=(0|1|0\\.[0-9]{1,3}))?, ?){0,4}";
    let language = "((de|en|pt|pt-BR|fr|\\*)(;q=(0|0\\.[0-9]))?,){0,3}";
    let accept = prop::sample::select(vec!["text/html", "*/*", "application/json"]).prop_map(str::to_owned);
    let mode = prop::sample::select(vec!["navigate", "cors"]).prop_map(str::to_owned);
    (
        option::of(coding),
        option::of(language),
        option::of("lang=(de|en|xx)?"),
        option::weighted(0.2, tag),
        option::weighted(0.2, tag),
        option::weighted(0.2, date.clone()),
        option::weighted(0.2, date),
        option::of(accept),
        option::of(mode),
    )
        .prop_map(|(coding, language, cookie, matches, none, modified, unmodified, accept, mode)| {
            let all = [
                ("accept-encoding", coding),
                ("accept-language", language),
                ("cookie", cookie),
                ("if-match", matches),
                ("if-none-match", none),
                ("if-modified-since", modified),
                ("if-unmodified-since", unmodified),
                ("accept", accept),
                ("sec-fetch-mode", mode),
            ];
            all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        })
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    fields.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Parses the parts of a multipart body (RFC 2046 §5.1.1) without the code that wrote it.
fn parts_of(body: &[u8], content_type: &str) -> Vec<(Range<usize>, Vec<u8>)> {
    let boundary = content_type.split_once("boundary=").unwrap().1;
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let body = [b"\r\n", body].concat();
    let mut starts: Vec<usize> =
        (0..body.len()).filter(|at| body[*at..].starts_with(&delimiter)).map(|at| at + delimiter.len()).collect();
    let end = starts.pop().unwrap();
    assert_eq!(&body[end..], b"--\r\n");
    starts.push(end);
    let parts = starts.windows(2).map(|pair| {
        let part = &body[pair[0]..pair[1] - delimiter.len()];
        let head = part.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let text = std::str::from_utf8(&part[..head]).unwrap();
        let range = text.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        (of_content_range(range), part[head + 4..].to_vec())
    });
    parts.collect()
}

fn of_content_range(field: &str) -> Range<usize> {
    let (range, _) = field.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    first.parse().unwrap()..last.parse::<usize>().unwrap() + 1
}

/// Returns true if the preconditions name the representation that would be sent, the only reason
/// for a 304 (RFC 9110 §13.1.2, §13.1.3). `None` if either status is right: a page with
/// translations has one date for several representations, so the server may ignore it.
fn has_representation(fields: &[(&'static str, String)], whole: &FileResponse<'_>, etag: &str) -> Option<bool> {
    let find = |requested| fields.iter().find(|(name, _)| *name == requested).map(|(_, value)| value.as_str());
    let tag = EntityTag::parse(etag).unwrap();
    match (find("if-none-match"), find("if-modified-since")) {
        (Some(none), _) => {
            let is_same =
                |one: &str| EntityTag::parse(one).is_some_and(|one| one.equals(&tag, EntityTagComparison::Weak));
            Some(none.trim() == "*" || none.split(',').any(is_same))
        }
        (None, Some(since)) => {
            let date = |text: &str| httpdate::parse_http_date(text).ok();
            let (_, modified) = whole.fields.iter().find(|(name, _)| name == "last-modified").unwrap();
            let is_later = date(since).is_some_and(|since| date(modified).unwrap() <= since);
            let has_languages = whole.fields.iter().any(|(name, _)| name == "link");
            if is_later && has_languages { None } else { Some(is_later) }
        }
        (None, None) => Some(false),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// RFC 9110 §8.6: `Content-Length` of HEAD is the length that GET would send. §9.3.2: "the
    /// same header fields … as … GET".
    #[test]
    fn head_is_get_without_content(release in releases(), url in urls(), fields in fields()) {
        let get = release.get(&url, &borrowed(&fields));
        let mut head = release.head(&url, &borrowed(&fields));
        prop_assert_eq!(head.status, get.status);
        prop_assert!(head.body.is_empty());
        // A 404 without `Cache-Control` has no page: the Worker adds a sentence, which these tests
        // leave out.
        if get.status == 200 || get.status == 404 && get.field("cache-control").is_some() {
            let (name, length) = head.fields.pop().unwrap();
            prop_assert_eq!((name.as_str(), length), ("content-length", get.body.len().to_string()));
        }
        prop_assert_eq!(head.fields, get.fields);
    }

    /// §15.4.5: "the client … already has a valid representation".
    #[test]
    fn clients_that_have_the_representation_get_a_304_and_others_do_not(release in releases(), url in urls(), fields in fields(), matching_etag in 0..4_u8, same_date: bool) {
        let url = format!("https://example.com{url}");
        let target = RequestTarget::parse(&url);
        let path = AssetPath::parse(&target.path);
        let unconditional: Vec<_> = borrowed(&fields).into_iter().filter(|(name, _)| !name.starts_with("if-")).collect();
        let given = HeaderSection::from(&unconditional);
        let request = AssetRequest { method: "GET", target: &target, path: &path, fields: &given };
        // Preconditions use the tag even if `_headers` removes it.
        let mut bare = TestRelease::of(&[]);
        bare.pointer = release.pointer.clone();
        bare.manifest = Manifest { headers: HeaderRules::default(), ..release.manifest.clone() };
        let Ok(AssetResponse::File(whole)) = from_release(bare.served(&bare.manifest), &request) else { return Ok(()) };
        let etag = whole.fields.iter().find(|(name, _)| name == "etag").unwrap().1.to_string();
        let mut fields = fields;
        match matching_etag {
            0 => {
                fields.retain(|(name, _)| *name != "if-none-match");
                fields.push(("if-none-match", etag.clone()));
            }
            1 => fields.iter_mut().filter(|(name, _)| *name == "if-none-match").for_each(|(_, value)| *value = format!("\"x\", W/{etag}")),
            _ => {}
        }
        if same_date {
            let date = whole.fields.iter().find(|(name, _)| name == "last-modified").unwrap().1.to_string();
            fields.iter_mut().filter(|(name, _)| name.ends_with("modified-since")).for_each(|(_, value)| value.clone_from(&date));
        }
        let response = release.get(&url, &borrowed(&fields));
        let has_representation = has_representation(&fields, &whole, &etag);
        match response.status {
            304 => prop_assert!(has_representation != Some(false) && response.body.is_empty()),
            412 => prop_assert!(fields.iter().any(|(name, _)| matches!(*name, "if-match" | "if-unmodified-since"))),
            status => prop_assert!(has_representation != Some(true) && status == 200, "{}", status),
        }
    }

    /// §14.2: each requested byte and no other, in order and once.
    #[test]
    fn a_206_has_exactly_the_requested_bytes(
        release in releases(),
        url in urls(),
        ranges in vec((option::of(0..70_u64), option::of(0..70_u64)), 1..6),
        coding in option::of("(br|identity|\\*)(;q=0)?"),
    ) {
        let text = |(first, last): &(Option<u64>, Option<u64>)| {
            format!("{}-{}", first.map(|at| at.to_string()).unwrap_or_default(), last.map(|at| at.to_string()).unwrap_or_default())
        };
        let field = format!("bytes={}", ranges.iter().map(text).collect::<Vec<_>>().join(", "));
        let accepted: Vec<_> = coding.iter().map(|coding| ("accept-encoding", coding.as_str())).collect();
        let whole = release.get(&url, &[("accept-encoding", "identity")]);
        let response = release.get(&url, &[accepted.as_slice(), &[("range", &field)]].concat());
        // What each range means according to §14.1.2; `None` if one is malformed.
        let length = whole.body.len() as u64;
        let requested: Option<Vec<Range<u64>>> = ranges.iter().map(|range| match *range {
            (Some(first), Some(last)) => (first <= last).then_some(first..last.saturating_add(1).min(length)),
            (Some(first), None) => Some(first..length),
            (None, Some(suffix)) => Some(length.saturating_sub(suffix)..length),
            (None, None) => None,
        }).collect();
        let is_requested = |at: u64| requested.as_ref().is_some_and(|requested| requested.iter().any(|range| range.contains(&at)));
        match response.status {
            206 => {
                let parts = match response.field("content-range") {
                    Some(range) => vec![(of_content_range(range), response.body.clone())],
                    None => parts_of(&response.body, response.field("content-type").unwrap()),
                };
                let mut seen = vec![false; whole.body.len()];
                let mut end = None;
                for (range, bytes) in parts {
                    prop_assert!(end.is_none_or(|end| range.start > end), "apart and in order");
                    prop_assert_eq!(&whole.body[range.clone()], bytes.as_slice());
                    end = Some(range.end);
                    seen[range].fill(true);
                }
                for (at, seen) in seen.into_iter().enumerate() {
                    prop_assert_eq!(seen, is_requested(at as u64), "{} of {}", at, &field);
                }
                prop_assert_eq!(response.field("content-encoding"), None);
                prop_assert_eq!(response.field("etag"), whole.field("etag"));
            }
            416 => {
                prop_assert!(requested.is_some() && (0..length).all(|at| !is_requested(at)));
                prop_assert_eq!(response.field("content-range").map(str::to_owned), Some(format!("bytes */{length}")));
            }
            200 => {
                let is_empty = length == 0;
                prop_assert!(requested.is_none() || is_empty || response.field("content-encoding").is_some(), "{}", field);
            }
            _ => prop_assert!(matches!(response.status, 301 | 302 | 307 | 404 | 406), "{}", response.status),
        }
    }

    /// §12.5.5: if two responses 200 to the same URL differ, the `Vary` of each names a request
    /// field that differs.
    #[test]
    fn vary_names_what_responses_differ_by(release in releases(), url in urls(), one in fields(), other in fields()) {
        let negotiated = |fields: &[(&'static str, String)]| {
            let chosen = ["accept-encoding", "accept-language", "cookie"];
            fields.iter().filter(|(name, _)| chosen.contains(name)).cloned().collect::<Vec<_>>()
        };
        let (one, other) = (negotiated(&one), negotiated(&other));
        let responses = [release.get(&url, &borrowed(&one)), release.get(&url, &borrowed(&other))];
        let [first, second] = &responses;
        if first.status != 200 || second.status != 200 || first == second {
            return Ok(());
        }
        for response in &responses {
            let vary = response.field("vary").unwrap_or_default().to_lowercase();
            let value = |fields: &[(&'static str, String)], name: &str| fields.iter().find(|(one, _)| *one == name).map(|(_, value)| value.clone());
            let mut names = vary.split(", ").filter(|name| !name.is_empty());
            prop_assert!(names.any(|name| value(&one, name) != value(&other, name)), "{:?} {:?} {}", one, other, vary);
        }
    }

    #[test]
    fn no_request_panics(
        release in releases(),
        url in ".{0,20}",
        range in ".{0,20}",
        condition in ".{0,20}",
        accepted in ".{0,20}",
        cookie in ".{0,20}",
    ) {
        let url = format!("https://example.com/{url}");
        let fields = [
            ("range", range.as_str()),
            ("if-range", &condition),
            ("if-match", &condition),
            ("if-none-match", &condition),
            ("if-modified-since", &condition),
            ("accept-encoding", &accepted),
            ("accept-language", &accepted),
            ("cookie", &cookie),
            ("accept", &accepted),
        ];
        for method in ["GET", "HEAD"] {
            let target = RequestTarget::parse(&url);
            let path = AssetPath::parse(&target.path);
            let request = AssetRequest { method, target: &target, path: &path, fields: &HeaderSection::from(&fields) };
            let _response = release.respond(&request);
        }
    }
}
