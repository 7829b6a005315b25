//! Random requests, records and responses pass through the whole tenant router. Nothing may
//! panic, what `properties.rs` checks must hold, and the cases together must reach every outcome
//! that `properties::Coverage` counts.
//!
//! `cargo test` tries a thousand cases; `KV_EDGE_FUZZ_BATCHES=10` makes it ten thousand.
//! `npm test -- --only fuzz` repeats it for 20 seconds, or for `KV_EDGE_FUZZ_SECONDS`. A failure
//! is shown with its smallest input and its seed; `KV_EDGE_FUZZ_SEED` reproduces it.

#![allow(clippy::expect_used)] // All of it is a test.

mod damage;
mod input;
mod properties;

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// The number of cases for one seed.
const CASES: u32 = 1000;

#[test]
fn random_requests_and_records_have_the_properties() {
    let batches: u32 = env::var("KV_EDGE_FUZZ_BATCHES").map_or(1, |batches| batches.parse().expect("a whole number"));
    // The operating system seeds the hashers of the standard library.
    let fresh = || RandomState::new().build_hasher().finish();
    let mut seed = env::var("KV_EDGE_FUZZ_SEED")
        .map_or_else(|_| fresh(), |seed| u64::from_str_radix(&seed, 16).expect("a seed as it was shown"));
    let (cases, mut coverage) = (input::cases(), properties::Coverage::default());
    for _ in 0..batches.max(1) {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 50_000, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_be_bytes(); 4].concat());
        match TestRunner::new_with_rng(config, rng).run(&cases, |case| properties::hold(&case, &coverage)) {
            Ok(()) => coverage.batches += 1,
            Err(TestError::Fail(why, case)) => panic!("{why}\nKV_EDGE_FUZZ_SEED={seed:016x}\n{case:#?}"),
            Err(abort) => panic!("{abort}\nKV_EDGE_FUZZ_SEED={seed:016x}"),
        }
        seed = seed.wrapping_add(1);
    }
    println!("{} cases: {coverage}", coverage.batches * u64::from(CASES));
    coverage.assert_all();
}
