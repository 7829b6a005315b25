//! How futures are woken. js-sys, which `wasm_bindgen_futures` re-exports, calls `queueMicrotask`,
//! which takes workerd about 4 µs. If the runtime has no such function when js-sys makes its
//! executor, it calls `Promise.then` instead, which takes a fraction of that.

use js_sys::{Reflect, global};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

/// Makes the executor while `queueMicrotask` is hidden. This depends on how js-sys works today:
/// its version is pinned, and `tests/executor.test.mjs` fails if a request calls `queueMicrotask`.
/// If the global cannot be hidden, nothing changes.
pub(crate) fn wake_by_promise() {
    let name = JsValue::from_str("queueMicrotask");
    let Ok(queue_microtask) = Reflect::get(&global(), &name) else { return };
    if Reflect::set(&global(), &name, &JsValue::UNDEFINED) == Ok(true) {
        spawn_local(async {});
        let was_set = Reflect::set(&global(), &name, &queue_microtask);
        assert!(was_set == Ok(true), "the property was set a moment ago");
    }
}
