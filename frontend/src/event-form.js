// The fields of the event form, and their values as event-service expects them.
import { currencies, toMajor, toMinor } from "./amounts.js";
import { categories } from "./categories.js";
import { MAX_PRICE, toEventValues } from "./event-values.js";
import { field } from "./forms.js";
import { currencyName, money, localZone, plainAmount, shortTime, t, tOr } from "./i18n.js";
import { categoryName } from "./views.js";
import { instantsOf, shiftWallClock, offsetName, wallClock } from "./zones.js";

/** First in the list. */
const COMMON_CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "DKK", "PLN", "JPY"];

/** @typedef {import("./event-values.js").EventValues} EventValues */
/** @typedef {import("./event-values.js").FieldTexts} FieldTexts */
/** @typedef {Record<keyof EventValues, import("./forms.js").Field>} Fields */

/**
 * @param {Api.EventItem | null} event the event to edit
 * @param {Partial<FieldTexts>} draft unsaved texts
 * @param {import("./time-zones.js").ZoneNames} zoneNames
 */
export function eventFields(event, draft, zoneNames) {
  const zone = event?.time_zone ?? zoneNames.canonical(localZone);
  const start = event?.starts_at ?? nextEvening();
  const end = event?.ends_at ?? new Date(Date.parse(start) + 3 * 3600_000).toISOString();
  const currency = event?.currency ?? "EUR";
  /** @param {string | null | undefined} instant */
  const local = (instant) => (instant ? wallClock(instant, zone) : "");
  /** @param {string} name @param {Record<string, unknown>} options */
  const makeField = (name, options) => field({ name, label: tOr(`editor.${name}`, name), ...options });
  const required = true;
  const dateTime = { type: "datetime-local", min: "1970-01-01T00:00", max: "2999-12-31T23:59" };
  // Stored values are not validated again.
  const accepted = event !== null;

  /** @type {Fields} */
  const fields = {
    title: makeField("title", { required, maxLength: 200, value: event?.title ?? "", accepted }),
    description: makeField("description", {
      hint: t("editor.description_hint"),
      tag: "textarea",
      rows: 7,
      maxLength: 5000,
      value: event?.description ?? "",
      accepted,
    }),
    category: makeField("category", {
      tag: "select",
      options: [
        ["", t("editor.no_category")],
        ...categories(event?.category).map((name) => [name, categoryName(name)]),
      ],
      value: event?.category ?? "",
    }),
    image_url: makeField("image_url", {
      hint: t("editor.image_hint"),
      type: "url",
      maxLength: 2000,
      placeholder: "https://",
      value: event?.image_url ?? "",
      rule: (/** @type {string} */ value) => (/^https:\/\//i.test(value) ? undefined : t("editor.image_https")),
      accepted,
    }),
    starts_at: makeField("starts_at", { ...dateTime, required, value: local(start) }),
    ends_at: makeField("ends_at", {
      ...dateTime,
      required,
      value: local(end),
      rule: () => (Date.parse(read().ends_at) > Date.parse(read().starts_at) ? undefined : t("editor.ends_first")),
    }),
    time_zone: makeField("time_zone", {
      tag: "select",
      options: including(zoneNames.names, zone).map((name) => [name, name.replaceAll("_", " ")]),
      required,
      value: zone,
    }),
    venue: makeField("venue", { required, maxLength: 200, value: event?.venue ?? "", accepted }),
    capacity: makeField("capacity", {
      type: "number",
      required,
      min: event ? Math.max(1, event.capacity - event.available) : 1,
      max: 1_000_000,
      value: event?.capacity ?? 100,
      accepted,
    }),
    max_seats_per_booking: makeField("max_seats_per_booking", {
      type: "number",
      required,
      min: 1,
      max: 100,
      value: event?.max_seats_per_booking ?? 10,
      accepted,
    }),
    max_seats_per_person: makeField("max_seats_per_person", {
      hint: t("editor.person_hint"),
      type: "number",
      min: 1,
      max: 1_000_000,
      value: event?.max_seats_per_person ?? "",
      accepted,
    }),
    price: makeField("price", {
      hint: t("editor.price_hint"),
      inputmode: "decimal",
      required,
      value: event ? toMajor(event.price, currency) : "0",
      rule: (/** @type {string} */ value) => priceError(value, fields.currency.control.value),
    }),
    currency: makeField("currency", {
      tag: "select",
      options: including([...new Set([...COMMON_CURRENCIES, ...currencies])], currency).map((code) => [
        code,
        currencyName(code),
      ]),
      required,
      value: currency,
    }),
    sales_start_at: makeField("sales_start_at", { ...dateTime, value: local(event?.sales_start_at) }),
    sales_end_at: makeField("sales_end_at", { ...dateTime, value: local(event?.sales_end_at) }),
  };
  const texts = () =>
    /** @type {FieldTexts} */ (
      Object.fromEntries(Object.entries(fields).map(([name, { control }]) => [name, control.value]))
    );
  const initialTexts = texts();
  const initial = event && { event, texts: initialTexts };
  const read = () => toEventValues(texts(), initial);
  /** The edited texts. */
  const edited = () => {
    const entries = /** @type {[keyof EventValues, string][]} */ (Object.entries(texts()));
    return /** @type {Partial<FieldTexts>} */ (
      Object.fromEntries(entries.filter(([name, text]) => text !== initialTexts[name]))
    );
  };
  for (const [name, text] of /** @type {[keyof EventValues, string][]} */ (Object.entries(draft))) {
    if (name in fields) fields[name].control.value = text;
  }
  fields.currency.control.addEventListener("change", () => fields.price.validate());
  keepDuration(fields);
  explainClockChanges(fields, read);
  return { fields, read, edited };
}

/** @param {string} text @param {string} currency */
function priceError(text, currency) {
  const amount = toMinor(text, currency);
  if (amount === null) return t("editor.price_wrong", { example: plainAmount(1250, currency) });
  return amount > MAX_PRICE ? t("editor.price_high", { most: money(MAX_PRICE, currency) }) : undefined;
}

/** Moves the end together with the start. @param {Fields} fields */
function keepDuration({ starts_at: start, ends_at: end }) {
  let previous = start.control.value;
  start.control.addEventListener("input", () => {
    const to = start.control.value;
    if (!to) return;
    if (end.control.value > previous) end.control.value = shiftWallClock(end.control.value, previous, to);
    previous = to;
  });
  start.control.addEventListener("change", () => end.validate());
}

/**
 * Shows which instant is meant if the clocks are set forward or back at that time.
 * @param {Fields} fields
 * @param {() => EventValues} read
 */
function explainClockChanges(fields, read) {
  const names = /** @type {const} */ (["starts_at", "ends_at", "sales_start_at", "sales_end_at"]);
  const explain = () => {
    const values = read();
    for (const name of names) {
      const [{ control, setNote }, instant, zone] = [fields[name], values[name], values.time_zone];
      const instants = instant ? instantsOf(control.value, zone) : [];
      if (!instant || instants.length === 1) setNote();
      else {
        const offset = offsetName(instant, zone);
        setNote(
          instants.length
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
 * Stores unsaved texts: of any event when the session ended, and of a new event also across reloads.
 * @param {number} user
 * @param {string} form
 */
export function formDraft(user, form) {
  const key = `typed:${user}:${form}`;
  return {
    /** @returns {Partial<FieldTexts>} */
    read: () => JSON.parse(sessionStorage.getItem(key) ?? "{}"),
    /** @param {Partial<FieldTexts>} texts */
    save: (texts) => sessionStorage.setItem(key, JSON.stringify(texts)),
    clear: () => sessionStorage.removeItem(key),
  };
}

/** @param {string[]} values @param {...string} more */
const including = (values, ...more) => [...more.filter((value) => !values.includes(value)), ...values];

/** 20:00 in two weeks. */
function nextEvening() {
  const day = new Date(Date.now() + 14 * 86_400_000);
  day.setHours(20, 0, 0, 0);
  return day.toISOString();
}
