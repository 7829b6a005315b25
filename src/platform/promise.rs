//! Promises of JavaScript as futures, with or without a deadline.
//!
//! `JsFuture` makes two functions of WebAssembly for each promise, and `worker::Delay` another one
//! for a deadline: fourteen calls between WebAssembly and JavaScript. Here one function serves
//! all promises, and a promise takes two calls. One timer serves all deadlines of a request.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/platform/glue/promise.js")]
extern "C" {
    fn watch(promise: &Promise, id: usize, settle: &Settle);

    #[wasm_bindgen(js_name = Deadlines)]
    type RuntimeDeadlines;
    #[wasm_bindgen(constructor, js_class = "Deadlines")]
    fn new(is_of_object: bool) -> RuntimeDeadlines;
    #[wasm_bindgen(method, js_class = "Deadlines", js_name = watch)]
    fn watch_within(this: &RuntimeDeadlines, promise: &Promise, id: usize, settle: &Settle, timeout_ms: f64);
}

/// Called by JavaScript once for each promise: with its id, how it settled, its value or error.
type Settle = Closure<dyn Fn(usize, u8, JsValue)>;

/// How a promise settled; `None` if it did not by the deadline.
type Settlement = Option<Result<JsValue, JsValue>>;

/// The state of a promise: how it settled, once it has, and who waits for it until then.
#[derive(Default)]
struct PromiseState {
    outcome: Option<Settlement>,
    waker: Option<Waker>,
}

/// The promises that JavaScript has not reported yet, by id, and the ids that are free.
struct PendingPromises {
    by_id: Vec<Option<Rc<RefCell<PromiseState>>>>,
    free_ids: Vec<usize>,
}

thread_local! {
    static PENDING: RefCell<PendingPromises> =
        const { RefCell::new(PendingPromises { by_id: Vec::new(), free_ids: Vec::new() }) };
    static SETTLE: Settle = Closure::new(settle);
}

/// Returns what the promise resolves to; the error is what it was rejected with.
#[cfg(any(feature = "cache", feature = "durable-objects"))]
pub(crate) async fn settled(promise: Promise) -> Result<JsValue, JsValue> {
    #[expect(clippy::expect_used, reason = "`watch` sets no timer")]
    outcome(|id, settle| watch(&promise, id, settle)).await.expect("a promise without a deadline is never late")
}

/// The deadlines of one request, or of one Durable Object.
#[derive(Clone)]
pub(crate) struct Deadlines {
    is_of_object: bool,
    runtime: Rc<OnceCell<RuntimeDeadlines>>,
}

impl Deadlines {
    /// Returns the deadlines of a request. Their timer ends with it.
    pub(crate) fn of_request() -> Self {
        Self { is_of_object: false, runtime: Rc::default() }
    }

    /// Returns the deadlines of a Durable Object. Their timer ends as soon as nothing waits,
    /// because it keeps the object in memory.
    #[cfg(feature = "durable-objects")]
    pub(crate) fn of_object() -> Self {
        Self { is_of_object: true, runtime: Rc::default() }
    }

    /// Returns what the promise resolves to, or `None` if it takes longer than the deadline. What
    /// it waits for goes on; the runtime aborts its fetches when the request ends.
    pub(crate) async fn settled_within(&self, deadline: Duration, promise: Promise) -> Settlement {
        let timeout_ms = deadline.as_secs_f64() * 1000.0;
        let deadlines = self.runtime.get_or_init(|| RuntimeDeadlines::new(self.is_of_object));
        outcome(|id, settle| deadlines.watch_within(&promise, id, settle, timeout_ms)).await
    }
}

/// Resolves to the outcome of a promise that `watch` watches.
fn outcome(watch: impl FnOnce(usize, &Settle)) -> impl Future<Output = Settlement> {
    let state = Rc::new(RefCell::new(PromiseState::default()));
    let id = PENDING.with_borrow_mut(|promises| promises.add(Rc::clone(&state)));
    SETTLE.with(|settle| watch(id, settle));
    poll_fn(move |context: &mut Context<'_>| {
        let mut state = state.borrow_mut();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    })
}

fn settle(id: usize, how: u8, value: JsValue) {
    let outcome = match how {
        0 => Some(Ok(value)),
        1 => Some(Err(value)),
        _ => None,
    };
    let Some(state) = PENDING.with_borrow_mut(|promises| promises.remove(id)) else { return };
    let waker = {
        let mut state = state.borrow_mut();
        state.outcome = Some(outcome);
        state.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl PendingPromises {
    /// Adds a promise and returns its id.
    fn add(&mut self, state: Rc<RefCell<PromiseState>>) -> usize {
        let id = self.free_ids.pop().unwrap_or(self.by_id.len());
        match self.by_id.get_mut(id) {
            Some(free) => *free = Some(state),
            None => self.by_id.push(Some(state)),
        }
        id
    }

    fn remove(&mut self, id: usize) -> Option<Rc<RefCell<PromiseState>>> {
        let state = self.by_id.get_mut(id).and_then(Option::take)?;
        self.free_ids.push(id);
        Some(state)
    }
}
