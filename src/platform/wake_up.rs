//! How futures are woken: js-sys calls `queueMicrotask`, which costs workerd about 4 µs a call, unless the runtime has none
//! when its executor is made; then it uses `Promise.then`, which costs a fraction of that.

use js_sys::{Reflect, global};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

/// Makes the executor while `queueMicrotask` is out of sight. Leans on what js-sys does today: its version is pinned, and
/// `tests/executor.test.mjs` fails where a request calls `queueMicrotask`. Where the global cannot be hidden, nothing changes.
pub(crate) fn by_promise() {
    let name = JsValue::from_str("queueMicrotask");
    let Ok(queue_microtask) = Reflect::get(&global(), &name) else { return };
    if Reflect::set(&global(), &name, &JsValue::UNDEFINED) == Ok(true) {
        spawn_local(async {});
        // Cannot fail: it was set a moment ago.
        let _restored = Reflect::set(&global(), &name, &queue_microtask);
    }
}
