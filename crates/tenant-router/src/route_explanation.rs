//! Where a request would go, and how visitors are split, for somebody who looks at a record. Both
//! come from the plans of requests, as the Worker makes them.

use http_semantics::error_response::HttpError;
use http_semantics::fields::Fields;
use serde::Serialize;

use super::TenantError;
use super::failover::Failover;
use super::request_plan::{RequestPlan, RouteChoice, RoutedRequest, RoutingSettings};
use super::storefront_address::StorefrontAddress;
use super::storefront_record::{Fallback, StorefrontRecord};
use super::upstream::Upstream;

/// Where a request would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteExplanation {
    /// The key of the storefront's record, if the URL names a storefront.
    pub storefront: Option<String>,
    /// The variant that the visitor gets, if variants serve the path.
    pub variant: Option<String>,
    /// The URL at the upstream; `None` if the request is refused.
    pub target: Option<String>,
    /// The URLs at the upstreams that may serve it if that one fails, in the order of the tries.
    pub fallbacks: Vec<String>,
    /// The key of the page in `assets` that is served with 503 if all of them fail.
    pub page: Option<String>,
    /// All variants of the record; empty if none of them serves the path.
    pub split: Vec<SplitShare>,
    /// Which of these upstreams are passed over at this moment. Circuits are those of one isolate.
    pub open_circuits: Vec<OpenCircuit>,
    /// Why the request goes to no upstream.
    pub refused: Option<RefusedRequest>,
}

/// An upstream that has failed too often to be sent the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenCircuit {
    /// The URL at the upstream, which is the target or a fallback.
    pub url: String,
    /// The time after which it may be tried again.
    pub retry_after_seconds: u64,
}

/// A variant and its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitShare {
    /// The name.
    pub variant: String,
    /// The weight. The share of the visitors is the weight divided by the sum of all weights.
    pub weight: u32,
}

/// The response to a request that goes to no upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRequest {
    /// The status.
    pub status: u16,
    /// The name of the error for programs.
    pub code: &'static str,
    /// The cause, as the log has it.
    pub detail: String,
}

/// How many of some visitors get a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampledVariant {
    /// The name; `None` if one upstream serves all visitors.
    pub variant: Option<String>,
    /// How many of them get it.
    pub visitors: u32,
}

impl RouteExplanation {
    /// Explains the plan of a request. `now_ms` is milliseconds since the Unix epoch.
    #[must_use]
    pub fn of_plan(
        plan: &RequestPlan<'_>,
        address: &StorefrontAddress<'_>,
        record: &StorefrontRecord,
        failover: &Failover,
        now_ms: u64,
    ) -> Self {
        let url = |upstream: &Upstream| upstream.join(plan.rest, plan.query);
        let mut fallbacks: Vec<String> = plan.others.iter().map(|other| url(other.upstream)).collect();
        let mut page = None;
        match &record.fallback {
            Some(Fallback::Upstream(upstream)) => fallbacks.push(url(upstream)),
            Some(Fallback::Page(key)) => page = Some(key.as_str().to_owned()),
            None => {}
        }
        let share = |variant: &super::storefront_record::SplitVariant| SplitShare {
            variant: variant.name.clone(),
            weight: variant.weight,
        };
        let open_circuit = |(upstream, retry_after_ms): (&Upstream, u64)| OpenCircuit {
            url: url(upstream),
            retry_after_seconds: retry_after_ms.div_ceil(1000),
        };
        let variants = if plan.target.variant.is_some() { record.variants() } else { &[] };
        Self {
            storefront: Some(address.key.as_str().to_owned()),
            variant: plan.target.variant.map(str::to_owned),
            target: Some(url(plan.target.upstream)),
            fallbacks,
            page,
            split: variants.iter().map(share).collect(),
            open_circuits: failover.open_circuits(plan, record.fallback.as_ref(), now_ms).map(open_circuit).collect(),
            refused: None,
        }
    }

    /// Explains why a request goes to no upstream. `address` is `None` if it names no storefront.
    #[must_use]
    pub fn of_error(error: &TenantError, address: Option<&StorefrontAddress<'_>>) -> Self {
        let response = error.response();
        let (status, code) = (response.status().code(), response.code());
        Self {
            storefront: address.map(|address| address.key.as_str().to_owned()),
            refused: Some(RefusedRequest { status, code, detail: error.to_string() }),
            ..Self::default()
        }
    }
}

/// Returns how many of the first `visitors` sample visitors get each variant, in the order of the
/// record, if they all send this request. The sample is always the same.
///
/// # Errors
/// [`TenantError`] if the request is refused.
pub fn sample<'r, F: Fields>(
    request: &RoutedRequest<'r, F>,
    address: &StorefrontAddress<'r>,
    record: &'r StorefrontRecord,
    settings: &RoutingSettings<'_>,
    visitors: u32,
) -> Result<Vec<SampledVariant>, TenantError> {
    let names = record.variants().iter().map(|variant| Some(variant.name.clone()));
    let mut sampled: Vec<_> = names.chain([None]).map(|variant| SampledVariant { variant, visitors: 0 }).collect();
    // Whether the request is refused does not depend on the visitor. If the plan draws no id, the
    // choice does not either, so one choice counts for all of them.
    let mut is_drawn = false;
    let first = || {
        is_drawn = true;
        0
    };
    RequestPlan::new(request, address, record, settings, first)?;
    let (choices, visitors_each) = if is_drawn { (visitors, 1) } else { (1, visitors) };
    for visitor in 0..choices {
        let RouteChoice { target, .. } = RouteChoice::of(request.fields, address, record, settings, || visitor.into())?;
        for sampled in sampled.iter_mut().filter(|sampled| sampled.variant.as_deref() == target.variant) {
            sampled.visitors += visitors_each;
        }
    }
    let is_split = sampled.iter().any(|sampled| sampled.variant.is_some() && sampled.visitors > 0);
    sampled.retain(|sampled| sampled.variant.is_some() == is_split);
    Ok(sampled)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http_semantics::fields::HeaderSection;
    use http_semantics::request_target::RequestTarget;
    use http_semantics::upstream_timeout::UpstreamTimeout;

    use super::*;
    use crate::failover::TryResult;
    use crate::storefront_record::RoutingEntry;
    use crate::visitor::{Visitor, VisitorKey};

    const SPLIT: &str = r#"{"origin": "https://shop.example", "routes": [{"path": "/api", "origin": "https://api.example"}],
        "variants": [{"name": "blue", "origin": "https://blue.example/b", "weight": 90},
                     {"name": "green", "origin": "https://green.example", "weight": 10},
                     {"name": "red", "origin": "https://red.example", "weight": 0}],
        "access": {"deny": {"countries": ["KP"]}}, "fallback": {"asset": "closed.html"}}"#;

    fn record(json: &str) -> StorefrontRecord {
        let Ok(RoutingEntry::Record(record)) = RoutingEntry::parse("shop", json, None) else { panic!("{json}") };
        *record
    }

    /// Calls a function with a request, its address and the settings.
    fn with_request<R>(
        url: &str,
        fields: &[(&str, &str)],
        f: impl FnOnce(&RoutedRequest<'_, HeaderSection>, &StorefrontAddress<'_>, &RoutingSettings<'_>) -> R,
    ) -> R {
        let (target, fields, key) = (RequestTarget::parse(url), HeaderSection::from(fields), VisitorKey::derive("s"));
        let address = StorefrontAddress::by_path(&target.path).unwrap();
        let timeout = UpstreamTimeout::from_milliseconds(5000);
        let settings = RoutingSettings { token: None, visitor_key: Some(&key), timeout };
        f(&RoutedRequest { method: "GET", target: &target, fields: &fields, has_body: false }, &address, &settings)
    }

    fn explain(url: &str, fields: &[(&str, &str)], record: &StorefrontRecord, visitor: u64) -> RouteExplanation {
        with_request(url, fields, |request, address, settings| {
            match RequestPlan::new(request, address, record, settings, || visitor) {
                Ok(plan) => RouteExplanation::of_plan(&plan, address, record, &Failover::new(1024), 0),
                Err(error) => RouteExplanation::of_error(&error, Some(address)),
            }
        })
    }

    #[test]
    fn an_explanation_has_the_variant_its_url_and_what_follows_a_failure() {
        let record = record(SPLIT);
        let explanation = explain("https://e.example/stores/shop/cart?x=1", &[], &record, 7);
        let (mine, other) = match explanation.variant.as_deref() {
            Some("blue") => ("https://blue.example/b/cart?x=1", "https://green.example/cart?x=1"),
            variant => panic!("{variant:?}"),
        };
        assert_eq!((explanation.target.as_deref(), &*explanation.fallbacks), (Some(mine), &[other.to_owned()][..]));
        assert_eq!((explanation.page.as_deref(), explanation.split.len()), (Some("closed.html"), 3));
        assert_eq!((explanation.storefront.as_deref(), explanation.refused), (Some("shop"), None));
        let explanation = explain("https://e.example/stores/shop/api/v1", &[], &record, 7);
        assert_eq!(explanation.target.as_deref(), Some("https://api.example/api/v1"));
        assert_eq!((explanation.variant, explanation.split), (None, Vec::new()));
    }

    #[test]
    fn a_visitor_with_the_cookie_goes_where_the_visitor_of_that_id_goes() {
        let (record, key) = (record(SPLIT), VisitorKey::derive("s"));
        for id in 0..50 {
            let cookie = Visitor::new(id).set_cookie("shop", "/", &key);
            let cookie = cookie.split_once(';').unwrap().0;
            let url = "https://e.example/stores/shop/";
            assert_eq!(explain(url, &[], &record, id), explain(url, &[("cookie", cookie)], &record, u64::MAX), "{id}");
        }
    }

    #[test]
    fn a_refused_request_has_the_status_that_the_visitor_gets() {
        let explanation = explain("https://e.example/stores/shop/", &[("cf-ipcountry", "KP")], &record(SPLIT), 7);
        let refused = explanation.refused.unwrap();
        assert_eq!((refused.status, refused.code, explanation.target), (403, "access_denied", None));
    }

    #[test]
    fn an_upstream_with_an_open_circuit_is_named() {
        let record = record(SPLIT);
        with_request("https://e.example/stores/shop/cart", &[], |request, address, settings| {
            let plan = RequestPlan::new(request, address, &record, settings, || 7).unwrap();
            let mut failover = Failover::new(1024 * 1024);
            for _ in 0..5 {
                failover.record(&plan, plan.target, TryResult::Unreached, plan.timeout, 0);
            }
            let explanation = RouteExplanation::of_plan(&plan, address, &record, &failover, 500);
            let url = explanation.target.unwrap();
            assert_eq!(explanation.open_circuits, [OpenCircuit { url, retry_after_seconds: 10 }]);
        });
    }

    #[test]
    fn one_choice_counts_for_all_if_it_does_not_depend_on_the_visitor() {
        /// Counts how often a field is read.
        struct Counted(HeaderSection, Cell<usize>);
        impl Fields for Counted {
            fn names(&self) -> &str {
                self.0.names()
            }
            fn get(&self, name: &str) -> Option<String> {
                self.1.set(self.1.get() + 1);
                self.0.get(name)
            }
            fn set_cookies(&self) -> Vec<String> {
                self.0.set_cookies()
            }
        }
        let by_user = SPLIT.replacen('{', r#"{"split": {"by": "user", "header": "X-User"}, "#, 1);
        for (json, fields, is_drawn) in [
            (SPLIT, &[][..], true),
            (&by_user, &[("x-user", "ann")], false),
            (r#"{"origin": "https://a.example"}"#, &[], false),
        ] {
            let record = record(json);
            with_request("https://e.example/stores/shop/", fields, |request, address, settings| {
                let fields = Counted(request.fields.clone(), Cell::new(0));
                let counted = RoutedRequest { method: "GET", target: request.target, fields: &fields, has_body: false };
                let sampled = sample(&counted, address, &record, settings, 1000).unwrap();
                assert_eq!(sampled.iter().map(|sampled| sampled.visitors).sum::<u32>(), 1000, "{json}");
                assert_eq!(fields.1.get() > 1000, is_drawn, "{json}: {} reads", fields.1.get());
            });
        }
    }

    #[test]
    fn a_sample_counts_the_visitors_of_each_variant() {
        let sampled = |url: &str, json: &str| {
            let record = record(json);
            let counts = with_request(url, &[], |request, address, settings| {
                let sampled = sample(request, address, &record, settings, 1000).unwrap();
                sampled.iter().map(|sampled| (sampled.variant.clone(), sampled.visitors)).collect::<Vec<_>>()
            });
            assert_eq!(counts.iter().map(|(_, visitors)| visitors).sum::<u32>(), 1000);
            counts
        };
        let counts = sampled("https://e.example/stores/shop/", SPLIT);
        let names: Vec<_> = counts.iter().map(|(name, _)| name.as_deref()).collect();
        assert_eq!(names, [Some("blue"), Some("green"), Some("red")]);
        assert!(counts[0].1.abs_diff(900) < 40 && counts[2].1 == 0, "{counts:?}");
        for (url, json) in [
            ("https://e.example/stores/shop/api", SPLIT),
            ("https://e.example/stores/shop/", r#"{"origin": "https://a.example"}"#),
        ] {
            assert_eq!(sampled(url, json), [(None, 1000)], "{url}");
        }
        let refused =
            with_request("https://e.example/stores/shop/", &[("cf-ipcountry", "KP")], |request, address, settings| {
                sample(request, address, &record(SPLIT), settings, 1000).map(drop)
            });
        assert_eq!(refused, Err(TenantError::AccessDenied));
    }
}
