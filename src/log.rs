//! The log: one JSON line an event. Never a secret, never what a visitor sent.

use serde::Serialize;

/// One line of the log.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    /// `error` where the visitor was told so, `warning` where the job went on.
    pub(crate) level: &'static str,
    /// The id that the answer carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<&'a str>,
    /// The name of the problem.
    pub(crate) code: &'a str,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// The route, without what the visitor wrote.
    pub(crate) route: &'a str,
    /// What happened, for the one who looks after the Worker.
    pub(crate) detail: &'a str,
}

/// Writes a line.
pub(crate) fn write(event: &Event<'_>) {
    if let Ok(line) = serde_json::to_string(event) {
        worker::console_error!("{line}");
    }
}

/// Something went wrong and the job went on without it.
pub(crate) fn warning(route: &'static str, code: &'static str, detail: &dyn std::fmt::Display) {
    write(&Event { level: "warning", request_id: None, code, status: None, route, detail: &detail.to_string() });
}
