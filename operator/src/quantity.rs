//! Kubernetes quantities: `250m`, `1.5Gi`, `1e3`.

/// The value in billionths. `None` if `text` is not a quantity.
pub fn parse(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let nanos = decimal(number)?;
    match suffix {
        "" => Some(nanos),
        "n" => Some(nanos / 1_000_000_000),
        "u" => Some(nanos / 1_000_000),
        "m" => Some(nanos / 1_000),
        _ => match power(suffix) {
            Some(factor) => nanos.checked_mul(factor),
            None => exponent(nanos, suffix),
        },
    }
}

/// Whether both have the same value.
pub fn same(left: &str, right: &str) -> bool {
    left == right || matches!((parse(left), parse(right)), (Some(left), Some(right)) if left == right)
}

fn decimal(number: &str) -> Option<i128> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos = whole.checked_mul(1_000_000_000)?.checked_add(fraction.parse().ok()?)?;
    Some(if negative { -nanos } else { nanos })
}

fn power(suffix: &str) -> Option<i128> {
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let position = |suffixes: [&str; 6]| suffixes.iter().position(|known| *known == suffix);
    let power = |base: i128, index: usize| base.pow(u32::try_from(index).unwrap_or_default() + 1);
    position(DECIMAL).map(|index| power(1000, index)).or_else(|| position(BINARY).map(|index| power(1024, index)))
}

fn exponent(nanos: i128, suffix: &str) -> Option<i128> {
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent < 0 { Some(nanos / factor) } else { nanos.checked_mul(factor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_can_be_written_in_many_ways() {
        for (left, right) in [("1", "1000m"), ("0.5", "500m"), ("1Gi", "1024Mi"), ("1k", "1e3"), ("1.5Gi", "1536Mi")] {
            assert!(same(left, right), "{left} {right}");
        }
        assert!(!same("1G", "1Gi"));
    }

    #[test]
    fn other_text_is_not_a_quantity() {
        for text in ["", "much", "1Xi", "Gi", "1.2.3", "--1", "1 Gi"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
