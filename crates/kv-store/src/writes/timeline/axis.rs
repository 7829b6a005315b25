//! The time axis: round ticks, few enough to read.

/// The axis has at most so many intervals: more figures would touch each other on a telephone.
pub(super) const INTERVALS_MAX: u64 = 6;

/// From tick to tick, in milliseconds.
const STEPS_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000];

/// The smallest round step that divides the span into few enough intervals; in milliseconds.
pub(super) fn step_ms(span_ms: u64) -> u64 {
    let is_wide_enough = |step_ms: &u64| step_ms.saturating_mul(INTERVALS_MAX) >= span_ms;
    STEPS_MS.into_iter().find(is_wide_enough).unwrap_or(span_ms)
}

/// The label of a tick. The last one names the unit.
pub(super) fn tick(tick_ms: u64, step_ms: u64, span_ms: u64) -> String {
    let in_seconds = span_ms >= 1000;
    let unit = if in_seconds { " s" } else { " ms" };
    let unit = if tick_ms.saturating_add(step_ms) > span_ms { unit } else { "" };
    match (tick_ms / 1000, tick_ms % 1000 / 100) {
        _ if !in_seconds => format!("{tick_ms}{unit}"),
        (seconds, 0) => format!("{seconds}{unit}"),
        // Steps are 200 ms or more here.
        (seconds, tenths) => format!("{seconds}.{tenths}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let steps = [1, 7, 30, 90, 999, 1000, 3001, 60_000].map(step_ms);
        assert_eq!(steps, [1, 2, 5, 20, 200, 200, 1000, 10_000]);
        assert_eq!([tick(600, 200, 999), tick(800, 200, 999)], ["600", "800 ms"]);
        assert_eq!([tick(0, 500, 2500), tick(2500, 500, 2500), tick(60_000, 10_000, 60_000)], ["0", "2.5 s", "60 s"]);
    }
}
