//! The price list of Workers KV, beyond what a plan includes.

use serde::Serialize;

use crate::counts::Counts;

/// Dollars per million, by operation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceList {
    /// The page that names the prices.
    pub source: &'static str,
    /// The day of that page.
    pub as_of: &'static str,
    /// Per million keys read; a bulk read is charged for each of its keys.
    pub keys_read: f64,
    /// Per million keys written.
    pub writes: f64,
    /// Per million keys deleted.
    pub deletes: f64,
    /// Per million list requests.
    pub lists: f64,
}

/// The prices of the paid plan ("Pricing"). It includes ten million keys read a month, and one
/// million of each other operation, which [`nano_dollars`] does not subtract: they belong to the
/// account, not to one Worker.
pub const PRICES: PriceList = PriceList {
    source: "https://developers.cloudflare.com/kv/platform/pricing/",
    as_of: "2025-05-20",
    keys_read: 0.5,
    writes: 5.0,
    deletes: 5.0,
    lists: 5.0,
};

/// Returns what the operations of KV cost by [`PRICES`], in billionths of a dollar.
#[must_use]
pub fn nano_dollars(counts: &Counts) -> u64 {
    counts.keys_read * 500 + (counts.writes + counts.deletes + counts.lists) * 5000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_operations_cost_what_the_price_list_says() {
        let million = 1_000_000;
        let dollars = |counts: Counts| nano_dollars(&counts).to_string();
        let of = |price: f64| format!("{}", price * 1e9);
        assert_eq!(dollars(Counts { keys_read: million, ..Counts::default() }), of(PRICES.keys_read));
        assert_eq!(dollars(Counts { writes: million, ..Counts::default() }), of(PRICES.writes));
        assert_eq!(dollars(Counts { deletes: million, ..Counts::default() }), of(PRICES.deletes));
        assert_eq!(dollars(Counts { lists: million, ..Counts::default() }), of(PRICES.lists));
        // What is read from memory, or in bulk, is not charged as such.
        assert_eq!(dollars(Counts { memory_hits: million, reads: million, ..Counts::default() }), "0");
    }
}
