//! Feature flags in the terms of OpenFeature, and the configuration of users.
//!
//! A *flag* has *variants*, each with a value, and *targeting rules* that decide which variant
//! a user gets. So a feature can be switched on for some users without a deploy, and later for
//! more of them.
//!
//! # Concepts, in the order in which an evaluation needs them
//!
//! 1. The **definitions** are JSON that people edit. They are parsed once, and faults are reported
//!    with their places ([`flags::Definitions`]).
//! 2. The **evaluation context** says whom a flag is evaluated for: the *targeting key*, which
//!    is the user's id, and *attributes* ([`flags::Subject`]). The attributes of the user's
//!    record in KV take precedence over those that the client sent.
//! 3. A **targeting rule** matches by a list of ids, by conditions on attributes, by a percentage,
//!    or by several of these together. The first rule that matches decides; otherwise the flag
//!    gives its default.
//! 4. A **percentage** needs no stored state. A hash of the flag's name and the targeting key
//!    puts each user into one of 100,000 buckets, so a user always gets the same variant, and a
//!    growing percentage only adds users.
//! 5. The result is a variant, its value, and the **reason** ([`flags::Reason`]). [`ofrep`] is
//!    the JSON that OpenFeature's clients exchange (OpenFeature Remote Evaluation Protocol).
//! 6. A **user's configuration** is the record whose attributes rules match ([`config`]). It has
//!    a key of its own or is part of one snapshot of all users.
//!
//! # Example
//!
//! ```
//! use feature_flags::flags::{Definitions, Reason, Subject, UserAttributes};
//! use serde_json::{Map, Value};
//!
//! let definitions = Definitions::parse(
//!     r#"{"flags": {"new-checkout": {
//!         "default": "off",
//!         "rules": [{"match": [{"attribute": "plan", "eq": "pro"}], "variant": "on"}]
//!     }}}"#,
//! )
//! .unwrap();
//! let context = Map::from_iter([("plan".to_owned(), Value::from("pro"))]);
//! let record = UserAttributes::NoRecord;
//! let subject = Subject { targeting_key: Some("ann"), context: &context, record };
//! let flag = definitions.get("new-checkout").unwrap();
//! let result = flag.evaluate("new-checkout", &subject).unwrap();
//! assert_eq!((result.variant, result.value_json), ("on", "true"));
//! assert_eq!(result.reason, Reason::TargetingMatch);
//! ```

#![forbid(unsafe_code)]

pub mod config;
pub mod flags;
pub mod ofrep;

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
