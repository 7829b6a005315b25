//! Calls of the Worker to itself. Each is an invocation of its own, with its own limits
//! ("Service bindings").

use std::time::Duration;

use wasm_bindgen::prelude::*;
use worker::web_sys::Request;

use crate::platform::js_error::message_of;
use crate::platform::promise::Deadlines;

#[wasm_bindgen(module = "/src/platform/glue/self_call.js")]
extern "C" {
    /// Sends the same request to this Worker with only these of its header fields and another
    /// body. Resolves to status and body of the response.
    #[wasm_bindgen(js_name = send, catch)]
    fn send_to_self(request: &Request, field_names: &str, body: &str) -> Result<js_sys::Promise, JsValue>;
}

/// Sends a request that this Worker received to the Worker again, with another body. The body is
/// handed over before this returns, so the caller may drop it. `field_names` are the header fields
/// that the request keeps, separated by commas. Resolves to status and body of the response. The
/// error is the message of the runtime, or says that there was no response by the deadline.
#[expect(clippy::expect_used, reason = "a response that is lost must not look like one that is empty")]
pub(crate) fn send(
    request: &Request,
    field_names: &str,
    body: &str,
    deadlines: Deadlines,
    deadline: Duration,
) -> impl Future<Output = Result<(u16, String), String>> + use<> {
    let sent = send_to_self(request, field_names, body);
    async move {
        let sent = sent.map_err(|thrown| message_of(&thrown))?;
        let reply = deadlines.settled_within(deadline, sent).await.ok_or("no response in time")?;
        let reply: js_sys::Array = reply.map_err(|thrown: JsValue| message_of(&thrown))?.unchecked_into();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Of three digits.
        let status = reply.get(0).as_f64().expect("the glue returns a status") as u16;
        Ok((status, reply.get(1).as_string().expect("the glue returns a text")))
    }
}
