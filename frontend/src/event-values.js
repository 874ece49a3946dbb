// Converts the texts of the event form into values for event-service: instants in UTC, money in minor units. Unedited
// values are kept, because the form shows neither seconds nor which of two repeated hours is meant.
import { toMinor } from "./amounts.js";
import { instantOf, wallClock } from "./zones.js";

/** @typedef {Omit<Api.EventItem, "id" | "available" | "held" | "sold" | "organizer_id" | "status" | "version" | "updated_at">} EventValues */
/** @typedef {Record<keyof EventValues, string>} FieldTexts */

/** In minor units. */
export const MAX_PRICE = 99_999_999;

/**
 * @param {FieldTexts} texts by field
 * @param {{ event: Api.EventItem, texts: FieldTexts } | null} initial the stored event and the texts that the form showed at first
 * @returns {EventValues}
 */
export function toEventValues(texts, initial) {
  /** Whether fields have their initial texts. @param {...keyof EventValues} names */
  const isUnedited = (...names) => initial !== null && names.every((name) => texts[name] === initial.texts[name]);
  /** @param {keyof EventValues} name @param {() => unknown} read */
  const value = (name, read) => (initial && isUnedited(name) ? (initial.event[name] ?? null) : read());
  /** @param {keyof EventValues} name */
  const text = (name) => value(name, () => texts[name].trim());
  /** @param {keyof EventValues} name */
  const optional = (name) => value(name, () => texts[name].trim() || null);
  /** @param {keyof EventValues} name */
  const number = (name) => value(name, () => Number(texts[name]));
  /** @param {"starts_at" | "ends_at" | "sales_start_at" | "sales_end_at"} name */
  const instant = (name) => {
    const old = initial?.event[name];
    if (Number.isNaN(Date.parse(`${texts[name]}Z`))) return null;
    return old && wallClock(old, texts.time_zone) === texts[name] ? old : instantOf(texts[name], texts.time_zone);
  };
  const perPerson = () => value("max_seats_per_person", () => Number(texts.max_seats_per_person) || null);
  /** @satisfies {Record<Exclude<keyof EventValues, "max_seats_per_person">, unknown> & { max_seats_per_person?: unknown }} */
  const values = {
    title: text("title"),
    description: text("description"),
    category: optional("category"),
    image_url: optional("image_url"),
    starts_at: instant("starts_at"),
    ends_at: instant("ends_at"),
    time_zone: text("time_zone"),
    venue: text("venue"),
    capacity: number("capacity"),
    max_seats_per_booking: number("max_seats_per_booking"),
    // A new event without a limit omits the field, because older replicas of event-service refuse unknown fields.
    ...(initial || texts.max_seats_per_person.trim() ? { max_seats_per_person: perPerson() } : {}),
    price: isUnedited("price", "currency") ? initial?.event.price : (toMinor(texts.price, texts.currency) ?? 0),
    currency: text("currency"),
    sales_start_at: instant("sales_start_at"),
    sales_end_at: instant("sales_end_at"),
  };
  return /** @type {any} */ (values);
}

/**
 * The values that differ from the stored event: the body of a PATCH.
 * @param {Partial<Record<keyof Api.EventItem, unknown>>} values
 * @param {Api.EventItem} event
 */
export function changedValues(values, event) {
  const entries = /** @type {[keyof Api.EventItem, unknown][]} */ (Object.entries(values));
  return Object.fromEntries(entries.filter(([name, value]) => value !== (event[name] ?? null)));
}
