//! Reads Kubernetes quantities ("10Gi", "500m", "1e3"), to compare them by value: the API server writes them in its own
//! form.

/// The value in thousandths, or `None` if this is not a quantity. Source: apimachinery's resource.Quantity.
pub fn thousandths(text: &str) -> Option<i128> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.trim_start_matches(['+', '-']).is_empty() && fraction.is_empty() || fraction.len() > 9
    {
        return None;
    }
    let negative = whole.starts_with('-');
    let digits = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<i128>().ok()
        }
    };
    let nano = 10_i128.pow(9);
    let mut value = digits(whole.trim_start_matches(['+', '-']))?.checked_mul(nano)?;
    value = value.checked_add(digits(&format!("{fraction:0<9}"))?)?;
    let (times, by) = match suffix {
        "" => (1, 1),
        "n" => (1, nano),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (10_i128.pow(6), 1),
        "G" => (10_i128.pow(9), 1),
        "T" => (10_i128.pow(12), 1),
        "P" => (10_i128.pow(15), 1),
        "E" => (10_i128.pow(18), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: u32 = suffix
                .strip_prefix(['e', 'E'])?
                .trim_start_matches('+')
                .parse()
                .ok()?;
            (10_i128.checked_pow(exponent)?, 1)
        }
    };
    let value = value.checked_mul(times)? / by / (nano / 1_000);
    Some(if negative { -value } else { value })
}

/// The value in whole units (bytes, for memory and storage).
pub fn bytes(text: &str) -> Option<i128> {
    thousandths(text).map(|value| value / 1_000)
}

#[cfg(test)]
mod tests {
    use super::thousandths;

    #[rstest::rstest]
    #[case("1", Some(1_000))]
    #[case("0.5", Some(500))]
    #[case("500m", Some(500))]
    #[case("1Ki", Some(1_024_000))]
    #[case("1.5Gi", Some(1_610_612_736_000))]
    #[case("1e3", Some(1_000_000))]
    #[case("-2", Some(-2_000))]
    #[case("", None)]
    #[case("Gi", None)]
    #[case("1GiB", None)]
    #[case("170141183460469231731687303715.999999999", None)]
    #[case("99999999999999999999999999999999999Ei", None)]
    fn reads(#[case] text: &str, #[case] value: Option<i128>) {
        assert_eq!(thousandths(text), value);
    }
}
