//! Virtual time, and what each strategy makes of many writers of one key in it. For tests and the
//! benchmark: nothing that is deployed depends on this crate.

#![forbid(unsafe_code)]

pub mod virtual_time;
pub mod writers;
