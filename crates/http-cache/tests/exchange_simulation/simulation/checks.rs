//! The checks of each response against what the simulation knows.

use std::rc::Rc;

use http_cache::cache_status::CacheStatus;
use http_cache::exchange::{ExchangeResult, ResponseSource, StoredView};
use http_cache::purge::PurgeMode;

use super::{Running, SimulatedBody, Simulation, Task, WRITE_KNOWN_MS, prefix};
use crate::upstreams::{Link, Target, target_of, url_of, value_of};

impl Simulation {
    /// Checks a response against what the world knows.
    pub(super) fn check(&mut self, id: usize, running: &Running, result: ExchangeResult<SimulatedBody>) {
        if let Some(view) = running.view {
            self.follow(view, running, &result);
        }
        let ExchangeResult { source, cache_status, .. } = result;
        let prefix = prefix(&running.exchange);
        self.count(match cache_status {
            CacheStatus::Hit { detail, .. } => format!("{prefix}hit {detail:?}"),
            CacheStatus::Forwarded { fwd, is_stored, .. } => format!("{prefix}fwd={fwd} stored={is_stored}"),
        });
        let (content, stored) = match source {
            ResponseSource::Stored { hit, store_as, .. } => {
                let content = Rc::clone(hit.body.content());
                if let Some(store) = store_as {
                    self.store_later(running.isolate, store, &content);
                }
                (content, Some(hit.stored))
            }
            ResponseSource::Upstream { store_as, .. } => {
                let content = running.received.clone().expect("the upstream responded");
                if let Some(store) = store_as {
                    self.store_later(running.isolate, store, &content);
                }
                (content, None)
            }
        };
        if running.exchange.method() == "POST" {
            self.learn_of_write(running.isolate, running.resource, content.version);
            for isolate in (0..self.isolates).filter(|isolate| *isolate != running.isolate) {
                let (resource, version) = (running.resource, content.version);
                self.after(WRITE_KNOWN_MS, Task::Written { isolate, resource, version });
            }
        }
        let seen = || format!("{id} at {} ms: {cache_status}, {content:?}, {stored:?}", self.now_ms);
        assert_eq!(content.resource, running.resource, "{}", seen());
        for (name, value) in &content.selected_by {
            assert_eq!(value, &value_of(&running.fields, name), "{}", seen());
        }
        assert!(content.only_for.is_none_or(|only| only == id), "made for another visitor: {}", seen());
        assert!(content.version >= running.version_min, "older than a write: {}", seen());
        check_chain(&content.chain, &seen);
        if cache_status.is_in_place_of_error() && running.sent > 0 {
            assert!(running.has_failed, "no error: {}", seen());
        }
        let is_view = running.exchange.view() == StoredView::Page;
        if let (CacheStatus::Forwarded { detail: Some("purged"), .. }, Some(stored)) = (&cache_status, &stored)
            && is_view
        {
            let is_new = stored.metadata.times.requested_ms >= running.began_ms;
            assert!(is_new || running.has_failed, "purged already: {}", seen());
        }
        let (CacheStatus::Hit { detail, .. }, Some(stored)) = (&cache_status, &stored) else { return };
        let url = url_of(running.resource);
        for metadata in content.chain.iter().map(|link| &link.metadata).chain([&stored.metadata]) {
            let purged = running.purges.covers(&url, metadata);
            assert_ne!(purged, Some(PurgeMode::Hard), "purged: {}", seen());
            assert!(purged.is_none() || detail.is_some(), "served as fresh after a soft purge: {}", seen());
        }
        if content.chain.len() > 1 {
            assert!(matches!(detail, None | Some("soft-purge")), "stale: {}", seen());
            for Link { resource, metadata, .. } in &content.chain {
                let (control, fresh, ..) = self.policy(*resource);
                let fresh = if control.is_empty() { 60 } else { fresh };
                let age_ms = running.began_ms.saturating_sub(metadata.times.received_ms);
                assert!(age_ms <= fresh * 1000, "{resource} is too old: {}", seen());
            }
            return;
        }
        let (control, fresh, swr, sie) = self.policy(running.resource);
        let is_default = control.is_empty() && is_view;
        let fresh = if is_default { 60 } else { fresh };
        let seconds = match *detail {
            None | Some("soft-purge") => fresh,
            Some("stale-while-revalidate") => fresh + swr,
            Some("stale-if-error") => fresh + sie,
            Some("max-stale") => fresh + 3,
            Some(other) => panic!("{other}: {}", seen()),
        };
        // The decision is as old as the reads that it rests on.
        let age_ms = running.began_ms.saturating_sub(stored.metadata.times.received_ms);
        assert!(age_ms <= seconds * 1000, "too old: {}", seen());
    }
}

/// Checks that each response of a view redirects to the next one, up to a page.
fn check_chain(chain: &[Link], seen: &dyn Fn() -> String) {
    for (index, link) in chain.iter().enumerate() {
        let expected = chain.get(index + 1).map_or(Target::Page, |next| Target::Resource(next.resource));
        // An error is a page, too.
        if link.metadata.status != 503 {
            assert_eq!(target_of(link.resource, link.version).0, expected, "{}", seen());
        }
    }
}
