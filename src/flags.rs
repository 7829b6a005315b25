//! The definitions of flags, which an isolate remembers: the last good ones where somebody broke them. The port through which every job
//! reads them.

use std::cell::RefCell;
use std::rc::Rc;

use kv_edge_core::flags::{Definitions, KEY};
use kv_edge_core::memory::{Held, Memory, Standing};
use kv_edge_core::retry::Time;
use kv_edge_core::schema::Fault;

use crate::bindings::Bindings;
use crate::clock::Clock;
use crate::incoming::Incoming;
use crate::kv::{NotRead, Remembered, Store, all_of_it};
use crate::users::good_ms;

thread_local! {
    static DEFINITIONS: RefCell<Memory<Rc<Definitions>>> = const { RefCell::new(Memory::of_one()) };
    /// What is wrong with the definitions that were read last.
    static FAULT: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// The definitions as they are now: out of memory for `CONFIG_REFRESH`. None were ever put: no flags.
pub(crate) async fn definitions(
    incoming: &Incoming,
    route: &'static str,
) -> Result<Held<Rc<Definitions>>, NotRead<Fault>> {
    let refresh_ms = incoming.vars().config_refresh_ms;
    let remembered = Remembered {
        store: Bindings::users,
        memory: &DEFINITIONS,
        refresh_ms,
        good_ms: good_ms(refresh_ms),
        parse: async |_: &Store, _: &str, json: Option<&str>| {
            let parsed = json.map_or_else(|| Ok(Definitions::none()), Definitions::parse);
            let fault = parsed.as_ref().err().and_then(|faults| faults.first()).cloned();
            FAULT.set(fault.clone());
            match fault {
                None => Ok(parsed.ok()),
                Some(fault) => Err(NotRead::Broken(fault)),
            }
        },
        identity: all_of_it,
        route,
        is_private: false,
    };
    // `parse` makes something of every text, also of none.
    remembered.get(incoming, &KEY, Clock.now_ms()).await.map(|held| held.unwrap_or_else(no_flags))
}

fn no_flags() -> Held<Rc<Definitions>> {
    Held { value: Rc::new(Definitions::none()), standing: Standing::Current }
}

/// What was wrong with the definitions that were read last.
pub(crate) fn fault() -> Option<Fault> {
    FAULT.with_borrow(Clone::clone)
}
