//! Random requests, records and answers through the whole of the tenant router: nothing panics, and what must never happen
//! does not.
//!
//! `cargo test` tries a thousand; `KV_EDGE_FUZZ_BATCHES` says how many thousands. `npm test -- --only fuzz` does that again and
//! again for a minute. A finding is shown with the smallest input that makes it and with the seed; `KV_EDGE_FUZZ_SEED` finds it
//! again.

#![allow(clippy::expect_used)] // All of it is a test.

mod damage;
mod input;
mod laws;

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Tried with one seed.
const CASES: u32 = 1000;

#[test]
fn random_requests_and_records_keep_the_laws() {
    let batches: u32 = env::var("KV_EDGE_FUZZ_BATCHES").map_or(1, |batches| batches.parse().expect("a whole number"));
    // A hasher of the standard library is seeded by the operating system.
    let fresh = || RandomState::new().build_hasher().finish();
    let mut seed = env::var("KV_EDGE_FUZZ_SEED")
        .map_or_else(|_| fresh(), |seed| u64::from_str_radix(&seed, 16).expect("a seed as it was shown"));
    let (cases, mut reached) = (input::cases(), laws::Reached::default());
    for _ in 0..batches.max(1) {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 50_000, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_be_bytes(); 4].concat());
        match TestRunner::new_with_rng(config, rng).run(&cases, |case| laws::hold(&case, &reached)) {
            Ok(()) => reached.batches += 1,
            Err(TestError::Fail(law, case)) => panic!("{law}\nKV_EDGE_FUZZ_SEED={seed:016x}\n{case:#?}"),
            Err(abort) => panic!("{abort}\nKV_EDGE_FUZZ_SEED={seed:016x}"),
        }
        seed = seed.wrapping_add(1);
    }
    println!("{} cases: {reached}", reached.batches * u64::from(CASES));
    reached.assert_all();
}
