//! Random requests, records and answers through the whole of the tenant router: nothing panics, and what must never happen
//! does not.
//!
//! `cargo test` tries a few. `KV_EDGE_FUZZ_SECONDS=60` goes on for so long (`npm test -- --only fuzz`). A finding is shown with
//! the smallest input that makes it and with the seed; `KV_EDGE_FUZZ_SEED` finds it again.

#![allow(clippy::arithmetic_side_effects, clippy::expect_used)] // All of it is a test.

mod damage;
mod input;
mod laws;

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Tried with one seed.
const CASES: u32 = 1000;

#[test]
#[allow(clippy::disallowed_methods)] // The clock is that of the machine, not of workerd.
fn random_requests_and_records_keep_the_laws() {
    let seconds = env::var("KV_EDGE_FUZZ_SECONDS").map_or(0, |seconds| seconds.parse().expect("whole seconds"));
    // A hasher of the standard library is seeded by the operating system.
    let fresh = || RandomState::new().build_hasher().finish();
    let mut seed = env::var("KV_EDGE_FUZZ_SEED")
        .map_or_else(|_| fresh(), |seed| u64::from_str_radix(&seed, 16).expect("a seed as it was shown"));
    let (began, cases, mut reached) = (Instant::now(), input::cases(), laws::Reached::default());
    loop {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 50_000, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_be_bytes(); 4].concat());
        match TestRunner::new_with_rng(config, rng).run(&cases, |case| laws::hold(&case, &reached)) {
            Ok(()) => reached.batches += 1,
            Err(TestError::Fail(law, case)) => panic!("{law}\nKV_EDGE_FUZZ_SEED={seed:016x}\n{case:#?}"),
            Err(abort) => panic!("{abort}\nKV_EDGE_FUZZ_SEED={seed:016x}"),
        }
        if began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        seed = seed.wrapping_add(1);
    }
    println!("{} cases in {:.1} s: {reached}", reached.batches * u64::from(CASES), began.elapsed().as_secs_f64());
    reached.assert_all();
}
