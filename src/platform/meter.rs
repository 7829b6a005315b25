//! Counts what a route or a class of Durable Objects does, if `METRICS` is on. A build without the
//! feature `metrics` counts nothing.

#[cfg(feature = "metrics")]
use kv_store::retry::Time;

#[cfg(feature = "metrics")]
use crate::isolate::Isolate;
#[cfg(feature = "metrics")]
use crate::platform::clock::Clock;
#[cfg(feature = "values")]
use crate::platform::env::RuntimeEnv;
use crate::platform::vars::Vars;

/// What is counted.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "a Worker of fewer jobs does fewer things")]
pub(crate) enum Metered {
    /// A read of KV that names so many keys.
    Read { keys: usize },
    /// A put.
    Write,
    /// A delete.
    Delete,
    /// A page of a list.
    List,
    /// A value of KV, or what a list says, that is in memory, so that it is not read or listed.
    MemoryHit,
    /// A call of a Durable Object.
    ObjectCall,
    /// A request to another server.
    UpstreamCall,
}

/// Counts for one route, or for one class of Durable Objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    /// The name under which it counts; `None` if it does not.
    #[cfg(feature = "metrics")]
    name: Option<&'static str>,
}

#[cfg(feature = "metrics")]
impl Meter {
    /// Counts nothing.
    pub(crate) const OFF: Self = Self { name: None };

    /// Returns the meter of a route, which is off unless `METRICS` is on.
    pub(crate) fn of_route(vars: &Vars, name: &'static str) -> Self {
        Self { name: vars.metrics_are_on.then_some(name) }
    }

    /// Returns the meter of a class of Durable Objects, whose vars may be those of another deploy
    /// than the isolate's.
    #[cfg(feature = "values")]
    pub(crate) fn of_object(env: &RuntimeEnv, name: &'static str) -> Self {
        Self { name: Vars::metrics_are_on(env).then_some(name) }
    }

    /// Returns true if it counts.
    pub(crate) fn is_on(self) -> bool {
        self.name.is_some()
    }

    /// Notes that a request or an alarm begins, and returns the time in milliseconds since the
    /// Unix epoch; `None` if nothing is counted.
    pub(crate) fn begin(self) -> Option<u64> {
        let now_ms = self.is_on().then(|| Clock.now_ms())?;
        Isolate::current().metrics.borrow_mut().begin(now_ms);
        Some(now_ms)
    }

    pub(crate) fn count(self, what: Metered) {
        let Some(name) = self.name else { return };
        Isolate::current().metrics.borrow_mut().count(name, |counts| match what {
            Metered::Read { keys } => {
                counts.reads += 1;
                counts.keys_read += keys as u64;
            }
            Metered::Write => counts.writes += 1,
            Metered::Delete => counts.deletes += 1,
            Metered::List => counts.lists += 1,
            Metered::MemoryHit => counts.memory_hits += 1,
            Metered::ObjectCall => counts.object_calls += 1,
            Metered::UpstreamCall => counts.upstream_calls += 1,
        });
    }

    /// Counts a response with its status, and the milliseconds that it took.
    pub(crate) fn responded(self, status: u16, milliseconds: u64) {
        let Some(name) = self.name else { return };
        Isolate::current().metrics.borrow_mut().count(name, |counts| {
            *counts.statuses.entry(status).or_default() += 1;
            counts.milliseconds += milliseconds;
        });
    }
}

#[cfg(not(feature = "metrics"))]
impl Meter {
    pub(crate) fn of_route(_: &Vars, _: &'static str) -> Self {
        Self {}
    }

    #[cfg(feature = "values")]
    pub(crate) fn of_object(_: &RuntimeEnv, _: &'static str) -> Self {
        Self {}
    }

    #[cfg(feature = "console")]
    #[expect(clippy::unused_self, reason = "the build with metrics counts here")]
    pub(crate) fn is_on(self) -> bool {
        false
    }

    #[cfg(feature = "values")]
    #[expect(clippy::unused_self, reason = "the build with metrics counts here")]
    pub(crate) fn begin(self) {}

    #[expect(clippy::unused_self, reason = "the build with metrics counts here")]
    pub(crate) fn count(self, _: Metered) {}
}
