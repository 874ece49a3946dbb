//! A model of the booking state machine: its properties, and its sequences replayed on the real services.
//!
//! `MODEL_CASES` sets how many sequences are replayed (10), `MODEL_SEED` which ones: every run prints its seed, and a
//! failing sequence is made as short as it gets and kept in `regressions.txt`, to be replayed first from then on.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod machine;
mod properties;
mod replay;
mod scenario;

use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};

/// Where failing sequences are kept.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/regressions.txt");

/// A runner of so many cases, made of the seed in `MODEL_SEED` or of a new one.
fn runner(cases: u32) -> TestRunner {
    let seed = number("MODEL_SEED").unwrap_or_else(rand::random);
    eprintln!("MODEL_SEED={seed} repeats these sequences");
    TestRunner::new(Config {
        cases,
        // Each step towards a shorter sequence is a replay too, and one that fails waits for as long as it may.
        max_shrink_iters: 40,
        max_shrink_time: 90_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
