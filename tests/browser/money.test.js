// Conversion of amounts. The services define the decimals of currencies, not the browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { currencies, currencyDigits, toMajor, toMinor, toStripe } from "../../frontend/src/amounts.js";

/** The decimals of the browser's formatter. @param {string} currency */
const digitsOfIntl = (currency) =>
  new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;

test("decimals follow ISO 4217 even where the browser differs", () => {
  for (const [currency, digits] of /** @type {const} */ ([
    ["EUR", 2],
    ["JPY", 0],
    ["KWD", 3],
    ["HUF", 2],
    ["IDR", 2],
    ["IQD", 3],
    ["PKR", 2],
    ["ISK", 0],
    ["BGN", 2],
  ])) {
    assert.equal(currencyDigits(currency), digits, currency);
  }
  assert.equal(currencies.length, 155);
  assert.ok(currencies.some((currency) => digitsOfIntl(currency) !== currencyDigits(currency)));
});

test("amounts of every currency survive formatting and parsing", () => {
  for (const currency of currencies) {
    for (const amount of [0, 1, 5, 10, 1234, 1_234_500, 99_999_999]) {
      assert.equal(toMinor(toMajor(amount, currency), currency), amount, `${amount} ${currency}`);
    }
  }
  assert.equal(toMajor(1_234_500, "HUF"), "12345.00");
  assert.equal(toMajor(1_234_500, "JPY"), "1234500");
  assert.equal(toMajor(5, "KWD"), "0.005");
});

test("an amount is parsed exactly, with a point or a comma, or refused", () => {
  for (const [text, currency, amount] of /** @type {const} */ ([
    ["12,50", "EUR", 1250],
    [" 0.1 ", "EUR", 10],
    ["1.005", "KWD", 1005],
    ["99999999", "JPY", 99_999_999],
    ["0012", "EUR", 1200],
    ["12.", "EUR", 1200],
    ["12.345", "EUR", null],
    ["12.5", "JPY", null],
    ["1.234,50", "EUR", null],
    ["-1", "EUR", null],
    ["1e3", "EUR", null],
    ["", "EUR", null],
  ])) {
    assert.equal(toMinor(text, currency), amount, `${text} ${currency}`);
  }
});

test("Stripe's card form gets the amount in Stripe's units", () => {
  assert.equal(toStripe(1250, "EUR"), 1250);
  assert.equal(toStripe(500, "ISK"), 50_000);
  assert.equal(toStripe(500_000, "MGA"), 5000);
  assert.equal(toStripe(5120, "KWD"), 5120);
});
