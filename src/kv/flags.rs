//! The definitions of flags, which an isolate remembers: the last good ones where somebody broke them. The port through which every job
//! reads them.

use std::cell::RefCell;
use std::rc::Rc;

use feature_flags::flags::{Definitions, KEY};
use kv_store::memory::{Held, Memory, Standing};
use kv_store::retry::Time;
use kv_store::schema::Fault;

use crate::http::incoming::Incoming;
use crate::kv::{GOOD_FACTOR, NotRead, Remembered, Store, Unreadable, all_of_it};
use crate::platform::bindings::Bindings;
use crate::platform::clock::Clock;
use crate::platform::log::RequestLog;

thread_local! {
    static DEFINITIONS: RefCell<Memory<Rc<Option<Definitions>>>> = const { RefCell::new(Memory::new()) };
    static UNREADABLE: RefCell<Unreadable<Fault>> = const { RefCell::new(Unreadable::new()) };
    /// What is wrong with the definitions that were read last.
    static FAULT: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

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

/// The definitions as they are now: out of memory for `CONFIG_REFRESH`, then read anew in the background.
pub(crate) async fn flags(incoming: &Incoming, route: &'static str) -> Result<Flags, NotRead<Fault>> {
    let refresh_ms = incoming.vars().flags.refresh_ms;
    let remembered = Remembered {
        store: Bindings::users,
        memory: &DEFINITIONS,
        refresh_ms,
        good_ms: refresh_ms.saturating_mul(GOOD_FACTOR),
        parse: async |_: &Store, _: &RequestLog, _: &str, json: Option<String>| {
            let parsed = json.as_deref().map(Definitions::parse).transpose();
            let fault = parsed.as_ref().err().and_then(|faults| faults.first()).cloned();
            FAULT.set(fault.clone());
            match fault {
                None => Ok(parsed.ok()),
                Some(fault) => Err(NotRead::Broken(fault)),
            }
        },
        unreadable: Some(&UNREADABLE),
        identity: all_of_it,
        route,
        is_private: false,
    };
    let held = remembered.get(incoming, &KEY, Clock.now_ms()).await?;
    // `parse` makes something of every text, also of none.
    let held = held.unwrap_or(Held { value: Rc::new(None), standing: Standing::Current });
    match (held.standing, fault()) {
        (Standing::Current, _) => FAULT.set(None),
        // There were none, and those that there are now are broken.
        (Standing::LastGood | Standing::Stale, Some(fault)) if held.value.is_none() => {
            return Err(NotRead::Broken(fault));
        }
        _ => {}
    }
    Ok(Flags { held })
}

/// What is wrong with the definitions in KV, as far as it is known.
pub(crate) fn fault() -> Option<Fault> {
    FAULT.with_borrow(Clone::clone)
}
