//! The exchange of the cache with everything around it simulated in virtual time: isolates, a KV
//! that shows writes late and fails, upstreams that change, fail and are slow, visitors who leave,
//! purges and writes. Nothing waits, so hundreds of thousands of steps take seconds.
//!
//! Whatever the order of events, each response is one that the upstream made for such a request;
//! it is not older than a write that the isolate knew of when the request began; and nobody gets
//! what was made for another visitor. A hit is not older than its directives allow, or than a hard
//! purge that the isolate knew of, and says so if a soft purge covers it. An isolate runs at most
//! one refresh of a stored response at a time. A request that went to the upstream gets a stale
//! response in place of an error only if there was one.
//!
//! The same holds for the JSON of a page. After redirects, it is not used again if one of them, or
//! the page, may not be stored, is stale, or has a tag that was purged hard since. It is not older
//! than a write to its own URL, or a hard purge of it; the URL of a target does not count. Each
//! redirect leads to where the upstream said. At most five are followed, even in a loop, and
//! none to an origin that is not allowed. After a hard purge, the JSON is made of new responses,
//! unless the upstream fails.
//!
//! `KV_EDGE_EXCHANGE_STEPS` sets the number of steps, `KV_EDGE_EXCHANGE_SEED` the seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod simulation;
mod upstreams;

use std::collections::BTreeMap;

use simulation::{ISOLATES, Simulation};

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a simulation and returns how often each thing happened.
fn run(isolates: usize) -> BTreeMap<String, usize> {
    let steps = usize::try_from(from_env("KV_EDGE_EXCHANGE_STEPS").unwrap_or(150_000)).unwrap();
    let seed = from_env("KV_EDGE_EXCHANGE_SEED").unwrap_or_else(|| {
        // The addresses of a process are random.
        (&raw const steps).addr() as u64
    });
    println!("KV_EDGE_EXCHANGE_SEED={seed}");
    let mut simulation = Simulation::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), isolates);
    simulation.run(steps);
    println!("{:#?}", simulation.counts);
    simulation.counts
}

#[test]
fn every_response_is_right_whatever_the_order_of_events() {
    let counts = run(ISOLATES);
    for what in [
        "hit None",
        "hit Some(\"soft-purge\")",
        "hit Some(\"stale-while-revalidate\")",
        "hit Some(\"stale-if-error\")",
        "hit Some(\"max-stale\")",
        "fwd=uri-miss stored=true",
        "fwd=vary-miss stored=true",
        "fwd=stale stored=true",
        "fwd=method stored=true",
        "fwd=method stored=false",
        "fwd=bypass stored=false",
        "client leaves",
        "prefetch",
        "refresh",
        "wait",
        "view hit None",
        "view hit Some(\"soft-purge\")",
        "view hit Some(\"stale-while-revalidate\")",
        "view hit Some(\"stale-if-error\")",
        "view fwd=uri-miss stored=true",
        "view fwd=uri-miss stored=false",
        "view fwd=stale stored=true",
        "view fwd=miss stored=true",
        "view wait",
        "follow",
        "view of 6 responses",
        "too many redirects",
        "redirect to outside",
    ] {
        assert!(counts.contains_key(what), "no {what}: {counts:?}");
    }
}

#[test]
fn in_one_isolate_no_variant_from_before_a_write_is_used_after_it_even_if_it_is_fresh() {
    let counts = run(1);
    for what in ["fwd=method stored=true", "fwd=vary-miss stored=true", "prefetch", "view hit None"] {
        assert!(counts.contains_key(what), "no {what}: {counts:?}");
    }
}
