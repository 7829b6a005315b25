//! The pages that are fetched for a view, and the redirects that lead to them.

use std::mem;
use std::rc::Rc;

use http_cache::cached_url::CachedUrl;
use http_cache::exchange::{Event, ExchangeResult, ResponseSource};
use http_cache::page_view::REDIRECTS_MAX;
use http_cache::stored_response::StoredMetadata;
use http_semantics::fields::HeaderSection;

use super::{Running, SimulatedBody, Simulation, Task};
use crate::upstreams::{Link, Target, UpstreamContent, resolve, resource_of, target_of};

impl Simulation {
    /// Fetches a page for a view, or what redirects to it.
    pub(super) fn fetch_page(&mut self, view: usize, running: &mut Running, url: CachedUrl) {
        running.sent += 1;
        assert!(running.sent <= 1 + REDIRECTS_MAX, "{} redirects without end", running.exchange.url().as_str());
        let (isolate, resource) = (running.isolate, resource_of(&url));
        let page = running.exchange.page(url);
        self.start(isolate, page, HeaderSection::default(), resource, None, Some(view));
    }

    /// Follows the redirect that was fetched for a view, or makes the view of the page.
    pub(super) fn follow(&mut self, view: usize, page: &Running, result: &ExchangeResult<SimulatedBody>) {
        let content = match &result.source {
            ResponseSource::Stored { hit, .. } => Rc::clone(hit.body.content()),
            ResponseSource::Upstream { .. } => page.received.clone().expect("the upstream responded"),
        };
        let Some(mut running) = self.running.remove(&view) else { return };
        let (status, fields, times) = result.source.head();
        running.chain.push(Link {
            resource: content.resource,
            version: content.version,
            metadata: StoredMetadata::from_response(
                &HeaderSection::default(),
                &self.credentials,
                status,
                fields,
                times,
                None,
            ),
        });
        running.only_for_view |= content.only_for.is_some();
        running.has_failed |= page.has_failed || result.cache_status.is_in_place_of_error();
        let url = page.exchange.url();
        let next = running.redirects.follow(url, result, &self.upstreams, resolve, self.now_ms);
        let received = match next.transpose() {
            Some(Ok(next)) => {
                self.count("follow");
                self.fetch_page(view, &mut running, next);
                self.running.insert(view, running);
                return;
            }
            Some(Err(error)) => {
                self.count(if running.is_at_redirect_limit() { "too many redirects" } else { "redirect to outside" });
                Err(error)
            }
            None => {
                let length = usize::try_from(content.length).unwrap();
                let redirects = mem::take(&mut running.redirects);
                let head = redirects.view_head(url, result, length, self.now_ms);
                let only_for = running.only_for_view.then_some(view);
                let (chain, first) = (running.chain.clone(), &running.chain[0]);
                self.count(format!("view of {} responses", chain.len()));
                running.received = Some(Rc::new(UpstreamContent {
                    resource: first.resource,
                    version: first.version,
                    only_for,
                    chain,
                    ..(*content).clone()
                }));
                Ok(head)
            }
        };
        self.running.insert(view, running);
        self.after(0, Task::Step(view, Event::Received(received)));
    }
}

impl Running {
    /// Returns true if the last response of the chain must not be another redirect to follow.
    fn is_at_redirect_limit(&self) -> bool {
        self.chain.len() > usize::try_from(REDIRECTS_MAX).unwrap()
    }

    /// Checks that the last redirect must not be followed: its target is not allowed, or it is one
    /// too many.
    pub(super) fn assert_not_followable(&self) {
        let Some(Link { resource, version, .. }) = self.chain.last() else { panic!("no redirect") };
        let (target, ..) = target_of(*resource, *version);
        assert!(
            target == Target::Outside || (self.is_at_redirect_limit() && target != Target::Page),
            "{:?}",
            self.chain
        );
    }
}
