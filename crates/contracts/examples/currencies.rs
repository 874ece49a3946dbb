//! Prints the site's table of currencies, `frontend/src/currencies.js`: `make generate` writes it, and the test here
//! fails while it is stale.

use contracts::{money::CURRENCIES, payment::STRIPE_DIGITS};

fn main() {
    print!("{}", module());
}

/// The codes by the number of digits of their minor units.
fn module() -> String {
    let mut module = String::from(
        "// The currencies that events may be sold in, by the number of digits of their minor units.\n\
         // Generated from crates/contracts/src/money.rs by `make generate`; not to be edited.\n\
         export const CURRENCIES = {\n",
    );
    for digits in 0..=4 {
        let codes: Vec<_> = CURRENCIES.iter().filter(|(_, own)| *own == digits).map(|(code, _)| *code).collect();
        if !codes.is_empty() {
            module += &format!("  {digits}: \"{}\",\n", codes.join(" "));
        }
    }
    let stripe: Vec<_> = STRIPE_DIGITS.iter().map(|(code, digits)| format!("{code}: {digits}")).collect();
    module
        + "};\n\
           /** Where Stripe's amounts have other digits. @type {Record<string, number>} */\n"
        + &format!("export const STRIPE_DIGITS = {{ {} }};\n", stripe.join(", "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_site_has_the_table_as_it_is() {
        let written = include_str!("../../../frontend/src/currencies.js");

        assert_eq!(written, super::module(), "run `make generate` and commit the result");
    }
}
