//! What is counted of a route, or of a class of Durable Objects.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts by the name of their route or class of Durable Objects. A name holds nothing that a
/// visitor wrote, so there are as many as the code has.
pub type RouteCounts = BTreeMap<Cow<'static, str>, Counts>;

/// What one route or class has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// The time from a request to its response, of all requests together, in milliseconds. It does
    /// not include the body that is still streamed, nor work after the response.
    pub milliseconds: u64,
    /// Reads of KV. A bulk read is one.
    pub reads: u64,
    /// Keys that these reads name: what Workers KV charges for.
    pub keys_read: u64,
    /// Puts.
    pub writes: u64,
    /// Deletes.
    pub deletes: u64,
    /// Lists: one for each page.
    pub lists: u64,
    /// Values of KV that were used from the isolate's memory.
    pub memory_hits: u64,
    /// Calls of Durable Objects, without those that hand metrics over.
    pub object_calls: u64,
    /// Requests to other servers.
    pub upstream_calls: u64,
}

impl Counts {
    /// Returns the number of responses.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        // Names every field, so that none can be forgotten.
        let Self {
            statuses,
            milliseconds,
            reads,
            keys_read,
            writes,
            deletes,
            lists,
            memory_hits,
            object_calls,
            upstream_calls,
        } = other;
        for (status, count) in statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.milliseconds += milliseconds;
        self.reads += reads;
        self.keys_read += keys_read;
        self.writes += writes;
        self.deletes += deletes;
        self.lists += lists;
        self.memory_hits += memory_hits;
        self.object_calls += object_calls;
        self.upstream_calls += upstream_calls;
    }
}

/// Adds the counts of each route to those of the same route.
pub fn add_all(counts: &mut RouteCounts, others: &RouteCounts) {
    for (route, other) in others {
        match counts.get_mut(route) {
            Some(counts) => counts.add(other),
            None => drop(counts.insert(route.clone(), other.clone())),
        }
    }
}
