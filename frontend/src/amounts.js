// Converts amounts of money between minor units (stored) and major units (shown), without floating point.
import { CURRENCIES, STRIPE_DIGITS } from "./currencies.js";

/** @type {Map<string, number>} */
const digits = new Map(
  Object.entries(CURRENCIES).flatMap(([count, codes]) => codes.split(" ").map((code) => [code, Number(count)])),
);

/** The codes of all currencies that an event can be sold in. */
export const currencies = [...digits.keys()].sort();

/**
 * The number of decimals of a currency: 2 for EUR, 0 for JPY. The services define it, because browsers differ for some
 * currencies. Withdrawn currencies have two.
 * @param {string} currency
 */
export const currencyDigits = (currency) => digits.get(currency) ?? 2;

/** `12.50` for 1250 cents. @param {number} amount minor units @param {string} currency */
export function toMajor(amount, currency) {
  const count = currencyDigits(currency);
  const padded = String(amount).padStart(count + 1, "0");
  return count ? `${padded.slice(0, -count)}.${padded.slice(-count)}` : padded;
}

/**
 * Parses an amount into minor units. Null if it is not an amount, or has more decimals than its currency.
 * @param {string} text
 * @param {string} currency
 */
export function toMinor(text, currency) {
  const count = currencyDigits(currency);
  const [, whole, fraction = ""] = /^(\d+)(?:[.,](\d*))?$/.exec(text.trim()) ?? [];
  if (whole === undefined || fraction.length > count) return null;
  return Number(whole + fraction.padEnd(count, "0"));
}

/** An amount in the units of Stripe's API. @param {number} amount minor units @param {string} currency */
export const toStripe = (amount, currency) =>
  Math.round(amount * 10 ** ((STRIPE_DIGITS[currency] ?? currencyDigits(currency)) - currencyDigits(currency)));
