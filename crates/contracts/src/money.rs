//! Money: the currencies that events may be sold in, and amounts, which travel as integers of the minor unit.

/// The currencies of ISO 4217 that are in use as money (no funds, metals or testing codes), in alphabetical order, each
/// with the number of digits of its minor unit. List one of 2026-01-01, published by <https://www.six-group.com/>.
///
/// The site's table is generated from this one (`make generate`), because browsers use other numbers of digits for
/// some.
#[rustfmt::skip]
pub const CURRENCIES: [(&str, u32); 155] = [
    ("AED", 2), ("AFN", 2), ("ALL", 2), ("AMD", 2), ("AOA", 2), ("ARS", 2), ("AUD", 2), ("AWG", 2), ("AZN", 2),
    ("BAM", 2), ("BBD", 2), ("BDT", 2), ("BHD", 3), ("BIF", 0), ("BMD", 2), ("BND", 2), ("BOB", 2), ("BRL", 2),
    ("BSD", 2), ("BTN", 2), ("BWP", 2), ("BYN", 2), ("BZD", 2), ("CAD", 2), ("CDF", 2), ("CHF", 2), ("CLP", 0),
    ("CNY", 2), ("COP", 2), ("CRC", 2), ("CUP", 2), ("CVE", 2), ("CZK", 2), ("DJF", 0), ("DKK", 2), ("DOP", 2),
    ("DZD", 2), ("EGP", 2), ("ERN", 2), ("ETB", 2), ("EUR", 2), ("FJD", 2), ("FKP", 2), ("GBP", 2), ("GEL", 2),
    ("GHS", 2), ("GIP", 2), ("GMD", 2), ("GNF", 0), ("GTQ", 2), ("GYD", 2), ("HKD", 2), ("HNL", 2), ("HTG", 2),
    ("HUF", 2), ("IDR", 2), ("ILS", 2), ("INR", 2), ("IQD", 3), ("IRR", 2), ("ISK", 0), ("JMD", 2), ("JOD", 3),
    ("JPY", 0), ("KES", 2), ("KGS", 2), ("KHR", 2), ("KMF", 0), ("KPW", 2), ("KRW", 0), ("KWD", 3), ("KYD", 2),
    ("KZT", 2), ("LAK", 2), ("LBP", 2), ("LKR", 2), ("LRD", 2), ("LSL", 2), ("LYD", 3), ("MAD", 2), ("MDL", 2),
    ("MGA", 2), ("MKD", 2), ("MMK", 2), ("MNT", 2), ("MOP", 2), ("MRU", 2), ("MUR", 2), ("MVR", 2), ("MWK", 2),
    ("MXN", 2), ("MYR", 2), ("MZN", 2), ("NAD", 2), ("NGN", 2), ("NIO", 2), ("NOK", 2), ("NPR", 2), ("NZD", 2),
    ("OMR", 3), ("PAB", 2), ("PEN", 2), ("PGK", 2), ("PHP", 2), ("PKR", 2), ("PLN", 2), ("PYG", 0), ("QAR", 2),
    ("RON", 2), ("RSD", 2), ("RUB", 2), ("RWF", 0), ("SAR", 2), ("SBD", 2), ("SCR", 2), ("SDG", 2), ("SEK", 2),
    ("SGD", 2), ("SHP", 2), ("SLE", 2), ("SOS", 2), ("SRD", 2), ("SSP", 2), ("STN", 2), ("SVC", 2), ("SYP", 2),
    ("SZL", 2), ("THB", 2), ("TJS", 2), ("TMT", 2), ("TND", 3), ("TOP", 2), ("TRY", 2), ("TTD", 2), ("TWD", 2),
    ("TZS", 2), ("UAH", 2), ("UGX", 0), ("USD", 2), ("UYU", 2), ("UZS", 2), ("VED", 2), ("VES", 2), ("VND", 0),
    ("VUV", 0), ("WST", 2), ("XAF", 0), ("XCD", 2), ("XCG", 2), ("XOF", 0), ("XPF", 0), ("YER", 2), ("ZAR", 2),
    ("ZMW", 2), ("ZWG", 2),
];

/// How many digits the minor unit of a currency has; `None` if no event may be sold in it.
pub fn minor_digits(currency: &str) -> Option<u32> {
    let found = CURRENCIES.binary_search_by_key(&currency, |(code, _)| code);
    found.ok().map(|index| CURRENCIES[index].1)
}

/// An amount in major units, such as `12.50` for 1250 cents, `900` for 900 yen. A currency that is no longer
/// in use has two digits.
pub fn decimal(amount: i64, currency: &str) -> String {
    let digits = minor_digits(currency).unwrap_or(2);
    if digits == 0 {
        return amount.to_string();
    }
    let unit = 10_u64.pow(digits);
    let (sign, size) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs());
    format!("{sign}{}.{:0width$}", size / unit, size % unit, width = digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_sorted_so_that_each_is_found() {
        assert!(CURRENCIES.is_sorted_by_key(|(code, _)| code));
        assert!(CURRENCIES.iter().all(|(code, digits)| minor_digits(code) == Some(*digits)));
    }

    #[test]
    fn codes_that_are_not_currencies_are_unknown() {
        for code in ["XXX", "XAU", "DEM", "CLF", "eur", "", "EURO"] {
            assert_eq!(minor_digits(code), None, "{code}");
        }
    }

    #[test]
    fn amounts_have_their_currencys_decimals() {
        let cases = [
            (2505, "EUR", "25.05"),
            (5, "EUR", "0.05"),
            (-5, "EUR", "-0.05"),
            (500, "JPY", "500"),
            (1500, "KWD", "1.500"),
            (0, "EUR", "0.00"),
            // Browsers use no digits here.
            (1_234_500, "HUF", "12345.00"),
            (1_234_500, "IDR", "12345.00"),
            (1_234_500, "IQD", "1234.500"),
            // Out of use.
            (1050, "BGN", "10.50"),
        ];
        for (amount, currency, text) in cases {
            assert_eq!(decimal(amount, currency), text);
        }
    }
}
