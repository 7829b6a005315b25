//! Weights in fields that negotiate, such as `q=0.5` (RFC 9110 §12.4.2).

/// Parses a parameter; returns the weight in thousandths, 0 to 1000, or `None` if the parameter is
/// no weight or an invalid one. `Q` counts as `q`.
#[must_use]
pub fn parse(parameter: &str) -> Option<u16> {
    let parameter = parameter.trim();
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_0_to_1_with_three_decimals_at_most() {
        for (parameter, weight) in [
            ("q=1", Some(1000)),
            ("q=1.000", Some(1000)),
            (" Q=0.5 ", Some(500)),
            ("q=0.001", Some(1)),
            ("q=0.", Some(0)),
            ("q=0", Some(0)),
            ("q=1.001", None),
            ("q=2", None),
            ("q=-1", None),
            ("q=.5", None),
            ("q=0.1234", None),
            ("q=NaN", None),
            ("q=", None),
            ("x=1", None),
            ("", None),
        ] {
            assert_eq!(parse(parameter), weight, "{parameter}");
        }
    }
}
