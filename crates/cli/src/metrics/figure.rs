//! Numbers in a column of ten characters.

use indicatif::HumanCount;

/// Formats a number in at most ten characters: whole below ten million, cut to four digits above
/// (five from 10,000 P on).
pub(super) fn figure(number: u64) -> String {
    if number < 10_000_000 {
        return HumanCount(number).to_string();
    }
    let (unit, name) = [(1_000_000_000_000_000_u64, "P"), (1_000_000_000_000, "T"), (1_000_000_000, "G")]
        .into_iter()
        .find(|(unit, _)| number >= *unit)
        .unwrap_or((1_000_000, "M"));
    let (whole, thousandths) = (number / unit, number % unit / (unit / 1000));
    match whole {
        0..10 => format!("{whole}.{thousandths:03}{name}"),
        10..100 => format!("{whole}.{:02}{name}", thousandths / 10),
        100..1000 => format!("{whole}.{}{name}", thousandths / 100),
        _ => format!("{}{name}", HumanCount(whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_ten_characters_at_most() {
        for (number, expected) in [
            (0, "0"),
            (9_999_999, "9,999,999"),
            (10_000_000, "10.00M"),
            (999_999_999, "999.9M"),
            (1_234_567_890, "1.234G"),
            (u64::MAX, "18,446P"),
        ] {
            assert_eq!(figure(number), expected);
        }
    }
}
