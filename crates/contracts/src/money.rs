//! Amounts of money, which travel as integers of the currency's minor unit.

/// An amount in major units, such as `12.50` for 1250 cents, `900` for 900 yen.
pub fn decimal(amount: i64, currency: &str) -> String {
    let digits = minor_digits(currency);
    if digits == 0 {
        return amount.to_string();
    }
    let unit = 10_u64.pow(digits);
    let (sign, size) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs());
    format!("{sign}{}.{:0width$}", size / unit, size % unit, width = digits as usize)
}

/// How many digits the minor unit of a currency has (ISO 4217; two where it is not listed here).
fn minor_digits(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_currencys_decimals() {
        let cases = [
            (2505, "EUR", "25.05"),
            (5, "EUR", "0.05"),
            (-5, "EUR", "-0.05"),
            (500, "JPY", "500"),
            (1500, "KWD", "1.500"),
            (12345, "CLF", "1.2345"),
            (0, "EUR", "0.00"),
        ];
        for (amount, currency, text) in cases {
            assert_eq!(decimal(amount, currency), text);
        }
    }
}
