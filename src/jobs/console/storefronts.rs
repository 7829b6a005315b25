//! `POST /console/api/storefronts/…`: checks a record before it is saved (`check`), explains where
//! a request would go (`route`), and counts the variants that visitors would get (`sample`). The
//! last two take the stored record if the call has none.

use std::collections::BTreeMap;
use std::rc::Rc;

use http_semantics::fields::{HeaderSection, is_name, is_value};
use http_semantics::request_target::RequestTarget;
use kv_store::limits::Key;
use kv_store::record_cache::{CachedRecord, RecordState};
use kv_store::retry::Time;
use kv_store::schema::Fault;
use serde::{Deserialize, Serialize};
use tenant_router::TenantError;
use tenant_router::record_check::RecordCheck;
use tenant_router::request_plan::{RequestPlan, RoutedRequest, RoutingSettings};
use tenant_router::route_explanation::{RefusedRequest, RouteExplanation, SampledVariant, sample};
use tenant_router::storefront_address::{HostMatch, StorefrontAddress};
use tenant_router::storefront_record::{RECORD_BYTES_MAX, RoutingEntry, StorefrontRecord};
use worker::web_sys::Response;

use super::findings::{Findings, PlacedFinding};
use super::{ConsoleError, ConsoleRequest, json};
use crate::http::error::RequestError;
use crate::http::url::href;
use crate::isolate::Isolate;
use crate::kv::keyspaces::Storefronts;
use crate::platform::clock::Clock;

const ROUTING_CONFIG: &str = "ROUTING_CONFIG";

/// The longest body, in bytes: it has room for a record of 128 KiB as a JSON string, and a
/// request.
const BODY_BYTES_MAX: u32 = 1024 * 1024;

/// Repeated members are reported until their paths have this many bytes together.
const REPEATED_BYTES_MAX: usize = 64 * 1024;

/// The most bytes that the names and values of all request fields have together. Cloudflare
/// accepts 128 KB.
const FIELDS_BYTES_MAX: usize = 64 * 1024;

/// The most visitors of a sample.
const VISITORS_MAX: u32 = 1000;

/// The length of a visitor's id, in hexadecimal digits.
const VISITOR_DIGITS: usize = 16;

pub(super) async fn handle(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    request.require_method("POST")?;
    request.check_read(ROUTING_CONFIG, &[])?;
    match request.call {
        "check" => check(request).await,
        "route" => route(request).await,
        "sample" => sample_visitors(request).await,
        _ => Err(ConsoleError::UnknownCall.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordCheckBody {
    key: String,
    record: String,
}

async fn check(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let RecordCheckBody { key, record } = request.body(BODY_BYTES_MAX).await?;
    let vars = request.context.vars();
    let mut entry = None;
    let mut findings = Findings::of_json(&record, RECORD_BYTES_MAX, |tree| {
        let policy = Some(&vars.routing_origins);
        let checked = RecordCheck::of(Some(&key), &record, &tree.repeated(REPEATED_BYTES_MAX), policy);
        entry = checked.entry;
        let findings = |found: Vec<Fault>| found.into_iter().map(PlacedFinding::from).collect();
        Findings { faults: findings(checked.faults), warnings: findings(checked.warnings) }
    });
    if let Some(RoutingEntry::CustomDomain(id)) = &entry
        && request.check_read(ROUTING_CONFIG, &[id.as_str()]).is_ok()
        && stored_json(request, id).await?.is_none()
    {
        let problem = format!("the storefront {:?} has no record", id.as_str()).into();
        findings.warnings.push(Fault { path: "storefront".to_owned(), problem }.into());
    }
    json(&findings)
}

/// The request of a dry run: it is planned, and not sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DryRunRequest {
    key: String,
    /// The value of the key; without one, that in KV.
    record: Option<String>,
    /// An absolute URL, or a path below the storefront.
    url: String,
    method: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// For `CF-IPCountry`.
    country: Option<String>,
    /// The id in the visitor's cookie; without one, the visitor is new.
    visitor: Option<String>,
}

async fn route(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let dry_run: DryRunRequest = request.body(BODY_BYTES_MAX).await?;
    let visitor = dry_run.visitor_id()?;
    let planned = dry_run.plan(request, |routed, address, record, settings| {
        let random = || visitor.unwrap_or_else(|| Clock.random_bits());
        let plan = RequestPlan::new(routed, address, record, settings, random)?;
        let failover = Isolate::current().storefronts.failover.borrow();
        Ok(RouteExplanation::of_plan(&plan, address, record, &failover, Clock.now_ms()))
    });
    match planned.await? {
        DryRunPlan::Planned(explanation) => json(&explanation),
        DryRunPlan::Refused(explanation) => json(&explanation),
        DryRunPlan::OutOfScope(leads_to) => json(&leads_to),
    }
}

#[derive(Deserialize)]
struct VisitorSampleBody {
    visitors: u32,
    #[serde(flatten)]
    dry_run: BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize)]
struct SampleResult {
    variants: Vec<SampledVariant>,
    /// Why the request goes to no upstream.
    refused: Option<RefusedRequest>,
}

async fn sample_visitors(request: &ConsoleRequest<'_>) -> Result<Response, RequestError> {
    let VisitorSampleBody { visitors, dry_run } = request.body(BODY_BYTES_MAX).await?;
    let invalid = |error: serde_json::Error| ConsoleError::InvalidBody(error.to_string());
    let dry_run: DryRunRequest = serde_json::from_value(dry_run.into_iter().collect()).map_err(invalid)?;
    if !(1..=VISITORS_MAX).contains(&visitors) {
        let why = format!("`visitors` must be a whole number from 1 to {VISITORS_MAX}");
        return Err(ConsoleError::InvalidBody(why).into());
    }
    dry_run.visitor_id()?;
    let planned =
        dry_run.plan(request, |routed, address, record, settings| sample(routed, address, record, settings, visitors));
    match planned.await? {
        DryRunPlan::Planned(variants) => json(&SampleResult { variants, refused: None }),
        DryRunPlan::Refused(explanation) => json(&SampleResult { variants: Vec::new(), refused: explanation.refused }),
        DryRunPlan::OutOfScope(leads_to) => json(&leads_to),
    }
}

/// What the storefront would do with a request.
enum DryRunPlan<R> {
    Planned(R),
    /// The storefront would refuse the request; the explanation says why.
    Refused(Box<RouteExplanation>),
    /// The request leads to a record that the token does not reach, so nothing was planned.
    OutOfScope(OutOfScope),
}

/// Where a request leads that the token cannot follow. That is no error of the call: a browser
/// would log it as one of the page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutOfScope {
    /// The key of the record: the URL names it, or a record that the token reads.
    out_of_scope: String,
}

impl<R> DryRunPlan<R> {
    fn refused(error: &TenantError, address: Option<&StorefrontAddress<'_>>) -> Self {
        Self::Refused(Box::new(RouteExplanation::of_error(error, address)))
    }
}

/// Why a request cannot be planned.
enum PlanFailure {
    /// The storefront would refuse it.
    Refused(TenantError),
    /// The token does not reach this record.
    OutOfScope(String),
    /// The call of the API fails.
    Failed(RequestError),
}

impl From<TenantError> for PlanFailure {
    fn from(error: TenantError) -> Self {
        Self::Refused(error)
    }
}

impl From<RequestError> for PlanFailure {
    fn from(error: RequestError) -> Self {
        Self::Failed(error)
    }
}

impl DryRunRequest {
    /// Returns the id of the visitor as a number, to use in place of a random one.
    fn visitor_id(&self) -> Result<Option<u64>, ConsoleError> {
        let Some(visitor) = &self.visitor else { return Ok(None) };
        let is_id = visitor.len() == VISITOR_DIGITS && visitor.bytes().all(|digit| digit.is_ascii_hexdigit());
        let id = u64::from_str_radix(visitor, 16).ok().filter(|_| is_id);
        let invalid = || format!("`visitor` must be {VISITOR_DIGITS} hexadecimal digits");
        id.map(Some).ok_or_else(|| ConsoleError::InvalidBody(invalid()))
    }

    /// Returns the header fields of the request.
    fn header_section(&self) -> Result<HeaderSection, ConsoleError> {
        let country = self.country.as_deref().filter(|country| !country.is_empty());
        let named = self.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()));
        let named = named.filter(|(name, _)| country.is_none() || name != "cf-ipcountry");
        let lines: Vec<_> = named.chain(country.map(|country| ("cf-ipcountry".to_owned(), country))).collect();
        if lines.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > FIELDS_BYTES_MAX {
            return Err(ConsoleError::InvalidBody(format!("the fields are longer than {FIELDS_BYTES_MAX} bytes")));
        }
        if let Some((name, _)) = lines.iter().find(|(name, value)| !is_name(name) || !is_value(value)) {
            return Err(ConsoleError::InvalidBody(format!("the field {name:?} is not a valid header field")));
        }
        Ok(lines.iter().map(|(name, value)| (name.as_str(), *value)).collect())
    }

    /// Finds the record for the request, and calls `plan` with both. A refusal by the storefront
    /// is a result, not an error.
    async fn plan<R>(
        &self,
        request: &ConsoleRequest<'_>,
        plan: impl FnOnce(
            &RoutedRequest<'_, HeaderSection>,
            &StorefrontAddress<'_>,
            &StorefrontRecord,
            &RoutingSettings<'_>,
        ) -> Result<R, TenantError>,
    ) -> Result<DryRunPlan<R>, RequestError> {
        let vars = request.context.vars();
        let key = Key::new(self.key.as_str())?.to_static();
        request.check_read(ROUTING_CONFIG, &[key.as_str()])?;
        let invalid = |why: &str| ConsoleError::InvalidBody(why.to_owned());
        let method = self.method.as_deref().unwrap_or("GET");
        if !is_name(method) {
            return Err(invalid("`method` is not a method").into());
        }
        let fields = self.header_section()?;
        let is_path = self.url.starts_with('/');
        // The host of a path does not matter; a name below `.invalid` is never registered (RFC
        // 2606 §2).
        let url = if is_path {
            href(&format!("https://storefront.invalid{}", self.url), None)
        } else {
            href(&self.url, None)
        };
        let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
        let url = url.ok_or_else(|| invalid("`url` is neither an http(s) URL nor a path"))?;
        let target = RequestTarget::parse(&url);
        let host = if is_path { HostMatch::Storefront(key.clone()) } else { vars.hosts.match_host(target.authority) };
        let mut address = match StorefrontAddress::of(&host, &target) {
            Ok(address) => address,
            Err(error) => return Ok(DryRunPlan::refused(&error, None)),
        };
        let settings = RoutingSettings {
            token: vars.token.as_deref(),
            visitor_key: vars.visitor_key.as_ref(),
            timeout: vars.upstream_timeout,
        };
        let read = async |asked: &Key<'_>| self.entry(request, &key, asked).await;
        let found = Storefronts::find::<PlanFailure>(&mut address, read).await;
        let planned = found.and_then(|found| match &*found.value {
            RoutingEntry::Record(record) => {
                let routed = RoutedRequest { method, target: &target, fields: &fields, has_body: false };
                Ok(plan(&routed, &address, record, &settings)?)
            }
            RoutingEntry::CustomDomain(_) => Err(address.not_found().into()),
        });
        match planned {
            Ok(planned) => Ok(DryRunPlan::Planned(planned)),
            Err(PlanFailure::Refused(error)) => Ok(DryRunPlan::refused(&error, Some(&address))),
            Err(PlanFailure::OutOfScope(key)) => Ok(DryRunPlan::OutOfScope(OutOfScope { out_of_scope: key })),
            Err(PlanFailure::Failed(failure)) => Err(failure),
        }
    }

    /// Returns the value of `key`: the record of the call if it has one and `key` is
    /// `key_of_record`, or else what KV has now.
    async fn entry(
        &self,
        request: &ConsoleRequest<'_>,
        key_of_record: &Key<'_>,
        key: &Key<'_>,
    ) -> Result<Option<CachedRecord<Rc<RoutingEntry>>>, PlanFailure> {
        if request.check_read(ROUTING_CONFIG, &[key.as_str()]).is_err() {
            return Err(PlanFailure::OutOfScope(key.as_str().to_owned()));
        }
        let json = match &self.record {
            Some(record) if key == key_of_record => Some(record.clone()),
            _ => stored_json(request, key).await?,
        };
        let Some(json) = json else { return Ok(None) };
        let policy = &request.context.vars().routing_origins;
        let entry = RoutingEntry::parse(key.as_str(), &json, Some(policy)).map_err(TenantError::from)?;
        Ok(Some(CachedRecord { value: Rc::new(entry), record_state: RecordState::Current }))
    }
}

/// Returns the value of a key in KV, which may be newer than the one in memory.
async fn stored_json(request: &ConsoleRequest<'_>, key: &Key<'_>) -> Result<Option<String>, RequestError> {
    Ok(request.context.env().storefronts().text_with_retry(key).await?)
}
