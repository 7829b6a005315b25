//! The price list of Workers KV, and the amounts that the paid plan includes: for the counts of
//! the Worker, and for the usage that `kv-edge metrics` shows.

use serde::Serialize;

use crate::counts::Counts;

/// Dollars for a million of each operation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceList {
    /// The URL of the page that names the prices.
    pub source: &'static str,
    /// The date on which the page named these prices.
    pub as_of: &'static str,
    /// Keys that are read; a bulk read is charged for each of its keys.
    pub keys_read: f64,
    /// Keys that are written.
    pub writes: f64,
    /// Keys that are deleted.
    pub deletes: f64,
    /// List requests.
    pub lists: f64,
}

/// What one operation costs, and how many the paid plan includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationPrice {
    /// In billionths of a dollar.
    pub nano_dollars: u64,
    /// In a month, for all namespaces of an account together.
    pub included: u64,
}

impl OperationPrice {
    #[expect(clippy::cast_precision_loss, reason = "a price has few digits")]
    const fn dollars_per_million(self) -> f64 {
        self.nano_dollars as f64 / 1000.0
    }
}

/// A key that is read.
pub const KEY_READ: OperationPrice = OperationPrice { nano_dollars: 500, included: 10_000_000 };
/// A key that is written.
pub const WRITE: OperationPrice = OperationPrice { nano_dollars: 5000, included: 1_000_000 };
/// A key that is deleted.
pub const DELETE: OperationPrice = OperationPrice { nano_dollars: 5000, included: 1_000_000 };
/// A list request.
pub const LIST: OperationPrice = OperationPrice { nano_dollars: 5000, included: 1_000_000 };
/// What a gigabyte that is stored for a month costs, in billionths of a dollar. The paid plan
/// includes one gigabyte-month for an account.
pub const GB_MONTH_NANO_DOLLARS: u64 = 500_000_000;

/// The prices of the paid plan (KV documentation, "Pricing") beyond the amounts that it includes.
pub const PRICES: PriceList = PriceList {
    source: "https://developers.cloudflare.com/kv/platform/pricing/",
    as_of: "2025-05-20",
    keys_read: KEY_READ.dollars_per_million(),
    writes: WRITE.dollars_per_million(),
    deletes: DELETE.dollars_per_million(),
    lists: LIST.dollars_per_million(),
};

/// Returns what the counted operations of KV cost at these prices, in billionths of a dollar. The
/// amounts that the plan includes are not subtracted: they are the account's, not this Worker's.
#[must_use]
pub fn nano_dollars(counts: &Counts) -> u64 {
    counts.keys_read * KEY_READ.nano_dollars
        + counts.writes * WRITE.nano_dollars
        + counts.deletes * DELETE.nano_dollars
        + counts.lists * LIST.nano_dollars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_operations_cost_what_the_price_list_says() {
        let million = 1_000_000;
        let cost = |counts: Counts| nano_dollars(&counts).to_string();
        assert_eq!(cost(Counts { keys_read: million, ..Counts::default() }), "500000000");
        assert_eq!(cost(Counts { writes: million, ..Counts::default() }), "5000000000");
        assert_eq!(cost(Counts { deletes: million, ..Counts::default() }), "5000000000");
        assert_eq!(cost(Counts { lists: million, ..Counts::default() }), "5000000000");
        // Hits in memory are free. A read is charged by its keys, which are counted by themselves.
        assert_eq!(cost(Counts { memory_hits: million, reads: million, ..Counts::default() }), "0");
    }
}
