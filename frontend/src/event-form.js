// The form fields of an event, and their values in the form that event-service expects.
import { currencies, toMajor, toMinor } from "./amounts.js";
import { MAX_PRICE, valuesOf } from "./event-values.js";
import { field } from "./forms.js";
import { currencyName, money, ownZone, plainAmount, shortTime, t, tOr } from "./i18n.js";
import { categories, categoryName } from "./views.js";
import { instantsOf, moved, offsetName, wallClock } from "./zones.js";

/** Offered first. */
const USUAL_CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "DKK", "PLN", "JPY"];

/** @typedef {import("./event-values.js").Wanted} Wanted */
/** @typedef {import("./event-values.js").Texts} Texts */
/** @typedef {Record<keyof Wanted, import("./forms.js").Field>} Fields */

/**
 * @param {Api.EventItem | null} event to start from
 * @param {Partial<Texts>} typed before, and not saved
 * @param {import("./time-zones.js").ZoneNames} zoneNames
 */
export function eventFields(event, typed, zoneNames) {
  const zone = event?.time_zone ?? zoneNames.inUse(ownZone);
  const start = event?.starts_at ?? nextEvening();
  const end = event?.ends_at ?? new Date(Date.parse(start) + 3 * 3600_000).toISOString();
  const currency = event?.currency ?? "EUR";
  /** @param {string | null | undefined} instant */
  const local = (instant) => (instant ? wallClock(instant, zone) : "");
  /** @param {string} name @param {Record<string, unknown>} options */
  const make = (name, options) => field({ name, label: tOr(`editor.${name}`, name), ...options });
  const required = true;
  const moment = { type: "datetime-local", min: "1970-01-01T00:00", max: "2999-12-31T23:59" };
  // Values that an event already has are not validated again.
  const accepted = event !== null;

  /** @type {Fields} */
  const fields = {
    title: make("title", { required, longest: 200, value: event?.title ?? "", accepted }),
    description: make("description", {
      hint: t("editor.description_hint"),
      tag: "textarea",
      rows: 7,
      longest: 5000,
      value: event?.description ?? "",
      accepted,
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
      longest: 2000,
      placeholder: "https://",
      value: event?.image_url ?? "",
      rule: (/** @type {string} */ value) => (/^https:\/\//i.test(value) ? undefined : t("editor.image_https")),
      accepted,
    }),
    starts_at: make("starts_at", { ...moment, required, value: local(start) }),
    ends_at: make("ends_at", {
      ...moment,
      required,
      value: local(end),
      rule: () => (Date.parse(read().ends_at) > Date.parse(read().starts_at) ? undefined : t("editor.ends_first")),
    }),
    time_zone: make("time_zone", {
      tag: "select",
      options: including(zoneNames.names, zone).map((name) => [name, name.replaceAll("_", " ")]),
      required,
      value: zone,
    }),
    venue: make("venue", { required, longest: 200, value: event?.venue ?? "", accepted }),
    capacity: make("capacity", {
      type: "number",
      required,
      min: event ? Math.max(1, event.capacity - event.available) : 1,
      max: 1_000_000,
      value: event?.capacity ?? 100,
      accepted,
    }),
    max_seats_per_booking: make("max_seats_per_booking", {
      type: "number",
      required,
      min: 1,
      max: 100,
      value: event?.max_seats_per_booking ?? 10,
      accepted,
    }),
    max_seats_per_person: make("max_seats_per_person", {
      hint: t("editor.person_hint"),
      type: "number",
      min: 1,
      max: 1_000_000,
      value: event?.max_seats_per_person ?? "",
      accepted,
    }),
    price: make("price", {
      hint: t("editor.price_hint"),
      inputmode: "decimal",
      required,
      value: event ? toMajor(event.price, currency) : "0",
      rule: (/** @type {string} */ value) => priceFault(value, fields.currency.control.value),
    }),
    currency: make("currency", {
      tag: "select",
      options: including([...new Set([...USUAL_CURRENCIES, ...currencies])], currency).map((code) => [
        code,
        currencyName(code),
      ]),
      required,
      value: currency,
    }),
    sales_start_at: make("sales_start_at", { ...moment, value: local(event?.sales_start_at) }),
    sales_end_at: make("sales_end_at", { ...moment, value: local(event?.sales_end_at) }),
  };
  const texts = () =>
    /** @type {Texts} */ (
      Object.fromEntries(Object.entries(fields).map(([name, { control }]) => [name, control.value]))
    );
  const first = texts();
  const before = event && { event, texts: first };
  const read = () => valuesOf(texts(), before);
  /** The typed texts that differ from the first ones. */
  const edited = () => {
    const entries = /** @type {[keyof Wanted, string][]} */ (Object.entries(texts()));
    return /** @type {Partial<Texts>} */ (Object.fromEntries(entries.filter(([name, text]) => text !== first[name])));
  };
  for (const [name, text] of /** @type {[keyof Wanted, string][]} */ (Object.entries(typed))) {
    if (name in fields) fields[name].control.value = text;
  }
  fields.currency.control.addEventListener("change", () => fields.price.check());
  endFollowsStart(fields);
  explainClocks(fields, read);
  return { fields, read, edited };
}

/** @param {string} text @param {string} currency */
function priceFault(text, currency) {
  const amount = toMinor(text, currency);
  if (amount === null) return t("editor.price_wrong", { example: plainAmount(1250, currency) });
  return amount > MAX_PRICE ? t("editor.price_high", { most: money(MAX_PRICE, currency) }) : undefined;
}

/** Moving the start keeps the event's duration. @param {Fields} fields */
function endFollowsStart({ starts_at: start, ends_at: end }) {
  let from = start.control.value;
  start.control.addEventListener("input", () => {
    const to = start.control.value;
    if (!to) return;
    if (end.control.value > from) end.control.value = moved(end.control.value, from, to);
    from = to;
  });
  start.control.addEventListener("change", () => end.check());
}

/**
 * Shows which instant is meant where a clock is set forward or back.
 * @param {Fields} fields
 * @param {() => Wanted} read
 */
function explainClocks(fields, read) {
  const names = /** @type {const} */ (["starts_at", "ends_at", "sales_start_at", "sales_end_at"]);
  const explain = () => {
    const values = read();
    for (const name of names) {
      const [{ control, note }, instant, zone] = [fields[name], values[name], values.time_zone];
      const meant = instant ? instantsOf(control.value, zone) : [];
      if (!instant || meant.length === 1) note();
      else {
        const offset = offsetName(instant, zone);
        note(
          meant.length
            ? t("editor.clock_twice", { offset })
            : t("editor.clock_skips", { time: shortTime(instant, zone), offset }),
        );
      }
    }
  };
  for (const name of /** @type {const} */ ([...names, "time_zone"])) {
    fields[name].control.addEventListener("input", explain);
  }
  explain();
}

/**
 * Keeps typed texts for somebody whose session ended, and those of a new event also over a reload.
 * @param {number} user
 * @param {string} form
 */
export function typedTexts(user, form) {
  const key = `typed:${user}:${form}`;
  return {
    /** @returns {Partial<Texts>} */
    read: () => JSON.parse(sessionStorage.getItem(key) ?? "{}"),
    /** @param {Partial<Texts>} texts */
    keep: (texts) => sessionStorage.setItem(key, JSON.stringify(texts)),
    forget: () => sessionStorage.removeItem(key),
  };
}

/** @param {string[]} values @param {...string} more */
const including = (values, ...more) => [...more.filter((one) => !values.includes(one)), ...values];

/** Eight in the evening, in two weeks. */
function nextEvening() {
  const day = new Date(Date.now() + 14 * 86_400_000);
  day.setHours(20, 0, 0, 0);
  return day.toISOString();
}
