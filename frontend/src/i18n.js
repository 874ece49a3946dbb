// Texts, numbers, money and dates in the visitor's language. The texts are in `texts/`, one file per language.
import { currencyDigits, toMajor } from "./amounts.js";
import { NetworkError } from "./api.js";
import { isolated } from "./bidi.js";

/** @typedef {typeof import("./texts/en.json")} Texts */
/** @typedef {TextKeys<Texts>} TextKey */
/** @typedef {Record<string, string | number>} Values */

const LANGUAGE = "language";
/** The supported languages, each named in itself. */
export const languages = { en: "English", de: "Deutsch" };

/** The language in use. */
export const language = chosenLanguage();
/** The locale for numbers and dates: the visitor's region if its language is the one in use. */
const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
document.documentElement.lang = language;
/** @type {Texts} */
const texts = (await import(`./texts/${language}.json`, { with: { type: "json" } })).default;

function chosenLanguage() {
  const preferred = [localStorage.getItem(LANGUAGE), ...navigator.languages.map((tag) => tag.split("-")[0])];
  return preferred.find((code) => code && code in languages) ?? "en";
}

/** Stores the language of the site, and reloads the page if it changed. @param {string} code */
export function chooseLanguage(code) {
  localStorage.setItem(LANGUAGE, code);
  if (code !== language) location.reload();
}

/** Looks up a full key, such as `event.left.one`. @param {string} key @returns {unknown} */
const find = (key) => key.split(".").reduce((/** @type {any} */ part, name) => part?.[name], texts);

/**
 * The text of `key`, with `{name}` replaced from `values`.
 * @param {TextKey} key
 * @param {Values} [values]
 */
export function t(key, values = {}) {
  return String(find(key)).replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : isolated(String(value ?? ""));
  });
}

/**
 * The text of a key that is built at run time, or else `fallback`.
 * @param {string} key
 * @param {string} fallback
 */
export function tOr(key, fallback) {
  return typeof find(key) === "string" ? t(/** @type {TextKey} */ (key)) : fallback;
}

const plurals = new Intl.PluralRules(locale);

/** @typedef {TextKey extends infer K ? (K extends `${infer Stem}.other` ? Stem : never) : never} CountedKey */

/**
 * The text of `key.one` or `key.other` for `n`.
 * @param {CountedKey} key
 * @param {number} n
 * @param {Values} [values]
 */
export function tn(key, n, values = {}) {
  const form = plurals.select(n) === "one" ? "one" : "other";
  return t(/** @type {TextKey} */ (`${key}.${form}`), { n, ...values });
}

/**
 * The message about an error for the visitor.
 * @param {unknown} error
 */
export function explain(error) {
  const {
    code = "",
    status = 0,
    message = "",
  } = /** @type {{ code?: string, status?: number, message?: string }} */ (error);
  if (!status) return t(error instanceof NetworkError ? "error.network" : "error.bug");
  const general = status >= 500 ? t("error.server") : message || t("error.bug");
  return tOr(`error.${code}`, tOr(`error.${status}`, general));
}

/** @type {Map<string, any>} */
const formats = new Map();

/**
 * Formatters are cached, because creating an Intl object is slow.
 * @template T
 * @param {new (locale: string, options: any) => T} Format
 * @param {object} options
 * @returns {T}
 */
function format(Format, options) {
  const key = Format.name + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Format(locale, options));
  return formats.get(key);
}

/** @param {number} value */
export const number = (value) => format(Intl.NumberFormat, {}).format(value);

/**
 * An amount with its currency. Whole amounts have no decimals.
 * @param {number} amount minor units
 * @param {string} currency
 */
export function money(amount, currency) {
  const digits = currencyDigits(currency);
  const minimumFractionDigits = amount % 10 ** digits ? digits : 0;
  const options = { style: "currency", currency, minimumFractionDigits, maximumFractionDigits: digits };
  return format(Intl.NumberFormat, options).format(/** @type {any} */ (toMajor(amount, currency)));
}

/** The amount as people type it: without currency and grouping. @param {number} amount @param {string} currency */
export function plainAmount(amount, currency) {
  const digits = currencyDigits(currency);
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false };
  return format(Intl.NumberFormat, options).format(/** @type {any} */ (toMajor(amount, currency)));
}

/** `EUR – Euro`. @param {string} code */
export function currencyName(code) {
  const name = format(Intl.DisplayNames, { type: "currency" }).of(code);
  return name && name !== code ? `${code} – ${name}` : code;
}

/** @param {{ price: number, currency: string }} event */
export const price = (event) => (event.price === 0 ? t("price.free") : money(event.price, event.currency));

/** The visitor's time zone. */
export const localZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/**
 * @param {string} instant RFC 3339
 * @param {Intl.DateTimeFormatOptions} options
 * @param {string} [zone] IANA
 */
export function date(instant, options, zone = localZone) {
  return format(Intl.DateTimeFormat, { ...options, timeZone: knownZone(zone) }).format(new Date(instant));
}

const DAY_AND_TIME = /** @type {const} */ ({
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "numeric",
  minute: "2-digit",
});

/** `Fri, 12 Jun 2026, 20:00`. @param {string} instant @param {string} [zone] */
export const shortTime = (instant, zone) => date(instant, DAY_AND_TIME, zone);

/** Names the zone of an event's times if the visitor's clock shows another time. @param {Zoned} event */
const zoneOptions = (event) => (sameClock(event) ? {} : /** @type {const} */ ({ timeZoneName: "short" }));

/**
 * An instant in an event's time zone; in the visitor's if the event is not known.
 * @param {string} instant
 * @param {Zoned | null} event
 * @param {Intl.DateTimeFormatOptions} [options]
 */
export const zonedTime = (instant, event, options = DAY_AND_TIME) =>
  date(instant, { ...options, ...(event && zoneOptions({ ...event, starts_at: instant })) }, event?.time_zone);

/**
 * The time of day of an instant for the visitor, with the zone if the event's clock shows another time.
 * @param {string} instant
 * @param {Zoned | null} event
 */
export const localTimeOfDay = (instant, event) =>
  date(instant, { hour: "numeric", minute: "2-digit", ...(event && zoneOptions(event)) });

/**
 * Start and end of an event: `Fri, 12 June 2026, 20:00 – 23:00`.
 * @param {Zoned & { ends_at: string }} event
 */
export const eventTime = (event) => range(event, event.time_zone, zoneOptions(event));

/** The same in the visitor's time zone. @param {Zoned & { ends_at: string }} event */
export const localEventTime = (event) => range(event, localZone, {});

/**
 * @param {{ starts_at: string, ends_at: string }} event
 * @param {string} zone
 * @param {Intl.DateTimeFormatOptions} extra
 */
function range({ starts_at: start, ends_at: end }, zone, extra) {
  const options = { ...DAY_AND_TIME, month: "long", timeZone: knownZone(zone), ...extra };
  return format(Intl.DateTimeFormat, options).formatRange(new Date(start), new Date(end));
}

/** @typedef {{ starts_at: string, time_zone: string }} Zoned */

/** Whether the event's clock shows the same time as the visitor's. @param {Zoned} event */
export function sameClock(event) {
  const options = /** @type {const} */ ({ dateStyle: "short", timeStyle: "short" });
  return date(event.starts_at, options, event.time_zone) === date(event.starts_at, options);
}

/** @param {string} zone */
function knownZone(zone) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return zone;
  } catch {
    return "UTC";
  }
}

/** `3 minutes ago`. @param {string} instant */
export function ago(instant) {
  const seconds = (Date.parse(instant) - Date.now()) / 1000;
  const units = /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ]);
  const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  if (unit === "second" && Math.abs(seconds) < 45) return t("time.now");
  return format(Intl.RelativeTimeFormat, { numeric: "auto" }).format(Math.round(seconds / size), unit);
}

/** `2:05` or `1:02:05`. @param {number} seconds */
export function clock(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
