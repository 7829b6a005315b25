//! Virtual time, and a simulation of many writers of one Workers KV key in it.
//!
//! Workers KV accepts one write per second to a key and responds with 429 to the others ("Limits
//! to KV writes to the same key"). How many of 20 writers succeed then depends on their strategy.
//! In real time, a run takes up to a minute; in virtual time, nobody waits.
//!
//! - [`virtual_time`] is the clock. It stands still while any task can run, and jumps to the next
//!   wake-up when all of them sleep. Its random numbers come from a seed, so a run is repeatable.
//! - [`writers`] simulates KV and the Durable Object of a key on that clock. The retry policy, the
//!   key writer and the write coalescer are those of [`kv_store`], not models of them.
//!
//! ```text
//! Direct, Documented, Backoff   writer ──────────────────────────────> SimulatedKv
//! Coalesce                      writer ──> request ──> Durable Object ──> SimulatedKv
//! ```
//!
//! With 20 writers that start together, one put each leaves one write, and not the last. With
//! coalescing, a single put stores the last value, and every writer is acknowledged:
//!
//! ```
//! use simulation::writers::{SimulatedStrategy, simulate};
//!
//! let direct = simulate(SimulatedStrategy::Direct, 20, 1);
//! assert_eq!((direct.puts, direct.acknowledged, direct.last_write_won), (20, 1, false));
//!
//! let coalesced = simulate(SimulatedStrategy::Coalesce { requests_max: 1 }, 20, 1);
//! assert_eq!((coalesced.puts, coalesced.acknowledged, coalesced.last_write_won), (1, 20, true));
//! ```
//!
//! Only tests and the benchmark use this crate; no deployed code depends on it.

#![forbid(unsafe_code)]

pub mod virtual_time;
pub mod writers;

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
