//! What operations and storage cost, by the price list of `metrics::prices`.

use std::fmt;

use ::metrics::prices::{DELETE, GB_MONTH_NANO_DOLLARS, KEY_READ, LIST, OperationPrice, WRITE};
use serde::{Serialize, Serializer};

use super::figure::figure;

/// A month of the price list has this many days here.
pub(super) const MONTH_DAYS: u128 = 30;

const GB: u128 = 1_000_000_000;

/// A sum of money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NanoDollars(u128);

/// What was used in a number of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BilledUsage {
    pub(super) days: u128,
    /// How many of these days have a figure of what is stored.
    pub(super) storage_days: u128,
    pub(super) reads: u128,
    pub(super) writes: u128,
    pub(super) deletes: u128,
    pub(super) lists: u128,
    /// The bytes that were stored on each day, added up.
    pub(super) byte_days: u128,
}

/// What each part costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct KvCost {
    pub(super) read: NanoDollars,
    pub(super) write: NanoDollars,
    pub(super) delete: NanoDollars,
    pub(super) list: NanoDollars,
    pub(super) storage: NanoDollars,
    pub(super) total: NanoDollars,
}

impl BilledUsage {
    /// Returns what a month of such days would use.
    pub(super) fn of_month(self) -> Self {
        let of_month = |sum: u128| sum * MONTH_DAYS / self.days.max(1);
        Self {
            days: MONTH_DAYS,
            storage_days: MONTH_DAYS,
            reads: of_month(self.reads),
            writes: of_month(self.writes),
            deletes: of_month(self.deletes),
            lists: of_month(self.lists),
            byte_days: self.byte_days * MONTH_DAYS / self.storage_days.max(1),
        }
    }

    /// Returns the part of an account's month that the Workers Paid plan does not include.
    pub(super) fn beyond_included(self) -> Self {
        let beyond = |count: u128, price: OperationPrice| count.saturating_sub(u128::from(price.included));
        Self {
            days: self.days,
            storage_days: self.storage_days,
            reads: beyond(self.reads, KEY_READ),
            writes: beyond(self.writes, WRITE),
            deletes: beyond(self.deletes, DELETE),
            lists: beyond(self.lists, LIST),
            byte_days: self.byte_days.saturating_sub(GB * MONTH_DAYS),
        }
    }

    /// Returns what the usage costs if nothing is included.
    pub(super) fn cost(&self) -> KvCost {
        let operations = |count: u128, price: OperationPrice| NanoDollars(count * u128::from(price.nano_dollars));
        let [read, write, delete, list] = [
            operations(self.reads, KEY_READ),
            operations(self.writes, WRITE),
            operations(self.deletes, DELETE),
            operations(self.lists, LIST),
        ];
        let storage = NanoDollars(self.byte_days * u128::from(GB_MONTH_NANO_DOLLARS) / (GB * MONTH_DAYS));
        let total = NanoDollars([read, write, delete, list, storage].iter().map(|sum| sum.0).sum());
        KvCost { read, write, delete, list, storage, total }
    }
}

/// In dollars with cents, and from 100,000 dollars on without, so that it fits a column.
impl fmt::Display for NanoDollars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CENT: u128 = 10_000_000;
        let cents = (self.0 + CENT / 2) / CENT;
        if cents == 0 && self.0 > 0 {
            return formatter.pad("<$0.01");
        }
        let dollars = u64::try_from(cents / 100).unwrap_or(u64::MAX);
        let cents = if dollars < 100_000 { format!(".{:02}", cents % 100) } else { String::new() };
        formatter.pad(&format!("${}{cents}", figure(dollars)))
    }
}

/// As dollars.
impl Serialize for NanoDollars {
    #[allow(clippy::cast_precision_loss)] // Beyond 9 million dollars, a nano-dollar may be wrong.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: BilledUsage =
        BilledUsage { days: 30, storage_days: 30, reads: 0, writes: 0, deletes: 0, lists: 0, byte_days: 0 };

    #[test]
    fn each_part_has_the_price_of_the_list() {
        for (usage, cost, after_included) in [
            (NOTHING, "$0.00", "$0.00"),
            (BilledUsage { reads: 11_000_000, ..NOTHING }, "$5.50", "$0.50"),
            (BilledUsage { reads: 10_000_000, ..NOTHING }, "$5.00", "$0.00"),
            (BilledUsage { writes: 2_000_000, ..NOTHING }, "$10.00", "$5.00"),
            (BilledUsage { deletes: 2_000_000, ..NOTHING }, "$10.00", "$5.00"),
            (BilledUsage { lists: 2_000_000, ..NOTHING }, "$10.00", "$5.00"),
            // Three gigabytes for a month.
            (BilledUsage { byte_days: 3 * GB * 30, ..NOTHING }, "$1.50", "$1.00"),
            (BilledUsage { reads: 1, ..NOTHING }, "<$0.01", "$0.00"),
        ] {
            assert_eq!(usage.cost().total.to_string(), cost, "{usage:?}");
            assert_eq!(usage.beyond_included().cost().total.to_string(), after_included, "{usage:?}");
        }
    }

    #[test]
    fn a_month_is_thirty_days_like_those_that_have_a_figure() {
        let days = BilledUsage { days: 2, storage_days: 1, reads: 2_000_000, byte_days: 2 * GB, ..NOTHING };
        assert_eq!(days.cost().read.to_string(), "$1.00");
        let month = days.of_month().cost();
        assert_eq!((month.read.to_string(), month.storage.to_string()), ("$15.00".to_owned(), "$1.00".to_owned()));
        assert_eq!(days.of_month().beyond_included().cost().total.to_string(), "$10.50");
    }

    #[test]
    fn money_is_shown_in_cents_and_written_in_dollars() {
        assert_eq!(NanoDollars(12_345_674_999_999).to_string(), "$12,345.67");
        assert_eq!(NanoDollars(1_234_567_890_000_000).to_string(), "$1,234,567");
        assert_eq!(format!("{:>8}", NanoDollars(5_000_000)), "   $0.01");
        assert_eq!(serde_json::to_string(&NanoDollars(500)).unwrap(), "5e-7");
    }
}
