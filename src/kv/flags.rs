//! The definitions of flags, which an isolate remembers: the last good ones where somebody broke
//! them. The port through which every job reads them.

use std::rc::Rc;

use feature_flags::flags::{Definitions, KEY};
use kv_store::memory::{Held, Standing, Unread};
use kv_store::retry::Time;
use kv_store::schema::Fault;

use super::keyspace::Keyspace;
use super::keyspaces::FlagDefinitions;
use crate::http::request_context::RequestContext;
use crate::isolate::Isolate;
use crate::platform::clock::Clock;

/// The definitions, and how they stand to what KV holds.
pub(crate) struct Flags {
    held: Held<Rc<Option<Definitions>>>,
}

impl Flags {
    /// Of all flags; without any where none were ever put.
    pub(crate) fn definitions(&self) -> &Definitions {
        static NONE: Definitions = Definitions::none();
        Option::as_ref(&self.held.value).unwrap_or(&NONE)
    }

    /// How they stand to what KV holds.
    pub(crate) fn standing(&self) -> Standing {
        self.held.standing
    }
}

/// The definitions as they are now: out of memory for `CONFIG_REFRESH`, then read anew in the
/// background.
pub(crate) async fn flags(context: &RequestContext) -> Result<Flags, Unread<Fault>> {
    let held = FlagDefinitions.get(context, &KEY, Clock.now_ms()).await?;
    // `parse` makes something of every text, also of none.
    let held = held.unwrap_or(Held { value: Rc::new(None), standing: Standing::Current });
    match (held.standing, fault()) {
        (Standing::Current, _) => {
            Isolate::current().flags_fault.take();
        }
        // There were none, and those that there are now are broken.
        (Standing::LastGood | Standing::Stale, Some(fault)) if held.value.is_none() => {
            return Err(Unread::Broken(fault));
        }
        _ => {}
    }
    Ok(Flags { held })
}

/// What is wrong with the definitions in KV, as far as it is known.
pub(crate) fn fault() -> Option<Fault> {
    Isolate::current().flags_fault.borrow().clone()
}
