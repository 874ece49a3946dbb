// The fields of an event, and what they say as event-service wants it: instants in UTC, money in minor units.
import { field } from "./forms.js";
import { currencyDigits, ownZone, t, tOr } from "./i18n.js";
import { categories, categoryName } from "./views.js";
import { instantOf, wallClock } from "./zones.js";

const CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "DKK", "PLN", "JPY"];

/** @typedef {Omit<Api.EventItem, "id" | "available" | "held" | "sold" | "organizer_id" | "status">} Wanted */

/** @param {Api.EventItem | null} event to start from */
export function eventFields(event) {
  const zone = event?.time_zone ?? ownZone;
  const start = event?.starts_at ?? nextEvening();
  const end = event?.ends_at ?? new Date(Date.parse(start) + 3 * 3600_000).toISOString();
  const currency = event?.currency ?? "EUR";
  /** @param {string | null | undefined} instant */
  const local = (instant) => (instant ? wallClock(instant, zone) : "");
  /** @param {string} name @param {Record<string, unknown>} options */
  const make = (name, options) => field({ name, label: tOr(`editor.${name}`, name), ...options });
  const required = true;
  const moment = "datetime-local";

  /** @type {Record<keyof Wanted, import("./forms.js").Field>} */
  const fields = {
    title: make("title", { required, maxlength: 200, value: event?.title ?? "" }),
    description: make("description", {
      hint: t("editor.description_hint"),
      tag: "textarea",
      rows: 7,
      maxlength: 5000,
      value: event?.description ?? "",
    }),
    category: make("category", {
      tag: "select",
      options: [
        ["", t("editor.no_category")],
        ...categories(event?.category).map((name) => [name, categoryName(name)]),
      ],
      value: event?.category ?? "",
    }),
    image_url: make("image_url", {
      hint: t("editor.image_hint"),
      type: "url",
      maxlength: 2000,
      placeholder: "https://",
      value: event?.image_url ?? "",
      rule: (/** @type {string} */ value) => (value.startsWith("https://") ? undefined : t("editor.image_https")),
    }),
    starts_at: make("starts_at", { type: moment, required, value: local(start) }),
    ends_at: make("ends_at", {
      type: moment,
      required,
      value: local(end),
      rule: (/** @type {string} */ value) =>
        value > fields.starts_at.control.value ? undefined : t("editor.ends_first"),
    }),
    time_zone: make("time_zone", {
      tag: "select",
      options: including(Intl.supportedValuesOf("timeZone"), zone).map((name) => [name, name.replaceAll("_", " ")]),
      required,
      value: zone,
    }),
    venue: make("venue", { required, maxlength: 200, value: event?.venue ?? "" }),
    capacity: make("capacity", {
      type: "number",
      required,
      min: event ? Math.max(1, event.capacity - event.available) : 1,
      max: 1_000_000,
      value: event?.capacity ?? 100,
    }),
    max_seats_per_booking: make("max_seats_per_booking", {
      type: "number",
      required,
      min: 1,
      max: 100,
      value: event?.max_seats_per_booking ?? 10,
    }),
    price: make("price", {
      hint: t("editor.price_hint"),
      inputmode: "decimal",
      required,
      value: event ? toMajor(event.price, currency) : "0",
      rule: (/** @type {string} */ value) =>
        toMinor(value, fields.currency.control.value) === null ? t("editor.price_wrong") : undefined,
    }),
    currency: make("currency", {
      tag: "select",
      options: including(CURRENCIES, currency).map((code) => [code, code]),
      required,
      value: currency,
    }),
    sales_start_at: make("sales_start_at", { type: moment, value: local(event?.sales_start_at) }),
    sales_end_at: make("sales_end_at", { type: moment, value: local(event?.sales_end_at) }),
  };
  return { fields, read: () => read(fields) };
}

/**
 * @param {Record<keyof Wanted, import("./forms.js").Field>} fields
 * @returns {Wanted}
 */
function read(fields) {
  const zone = fields.time_zone.control.value;
  /** @param {import("./forms.js").Control} control */
  const value = ({ type, value: text, required }) => {
    if (!text.trim()) return required ? "" : null;
    if (type === "number") return Number(text);
    return type === "datetime-local" ? instantOf(text, zone) : text.trim();
  };
  /** @type {any} */
  const wanted = Object.fromEntries(Object.entries(fields).map(([name, { control }]) => [name, value(control)]));
  return {
    ...wanted,
    description: wanted.description ?? "",
    price: toMinor(wanted.price, wanted.currency) ?? 0,
  };
}

/**
 * Keeps what is typed into the form of a new event, for a reload or a session that ends meanwhile.
 * @param {HTMLElement} form
 * @param {Record<string, import("./forms.js").Field>} fields
 * @param {number} user
 */
export function keepTyped(form, fields, user) {
  const key = `typed:${user}`;
  /** @type {Record<string, string>} */
  const typed = JSON.parse(sessionStorage.getItem(key) ?? "{}");
  for (const [name, value] of Object.entries(typed)) fields[name].control.value = value;
  form.addEventListener("input", ({ target }) => {
    if (target instanceof Element) typed[target.getAttribute("name") ?? ""] = /** @type {any} */ (target).value;
    sessionStorage.setItem(key, JSON.stringify(typed));
  });
  return () => sessionStorage.removeItem(key);
}

/** @param {string[]} values @param {string} one */
const including = (values, one) => (values.includes(one) ? values : [one, ...values]);

/** Eight in the evening, in two weeks. */
function nextEvening() {
  const day = new Date(Date.now() + 14 * 86_400_000);
  day.setHours(20, 0, 0, 0);
  return day.toISOString();
}

/**
 * Minor units of an amount as people write it, without a detour over binary fractions; null if it is none.
 * @param {string} text
 * @param {string} currency
 */
function toMinor(text, currency) {
  const digits = currencyDigits(currency);
  const match = /^(\d{1,7})(?:[.,](\d*))?$/.exec(text.trim());
  if (!match || (match[2] ?? "").length > digits) return null;
  return Number(match[1] + (match[2] ?? "").padEnd(digits, "0"));
}

/** @param {number} amount minor units @param {string} currency */
function toMajor(amount, currency) {
  const digits = currencyDigits(currency);
  const padded = String(amount).padStart(digits + 1, "0");
  return digits ? `${padded.slice(0, -digits)}.${padded.slice(-digits)}` : padded;
}
