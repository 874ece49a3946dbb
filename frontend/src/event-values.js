// Converts the texts of an event's form into what event-service expects: instants in UTC, money in minor units.
// Unedited values stay as they are, because the form shows no seconds, and not which of two equal hours is meant.
import { toMinor } from "./amounts.js";
import { instantOf, wallClock } from "./zones.js";

/** @typedef {Omit<Api.EventItem, "id" | "available" | "held" | "sold" | "organizer_id" | "status" | "version" | "updated_at">} Wanted */
/** @typedef {Record<keyof Wanted, string>} Texts */

/** The most a price may be, in minor units. */
export const MAX_PRICE = 99_999_999;

/**
 * @param {Texts} texts by field
 * @param {{ event: Api.EventItem, texts: Texts } | null} before the event as it is and what the form showed of it at first
 * @returns {Wanted}
 */
export function valuesOf(texts, before) {
  /** Whether fields say what they said at first. @param {...keyof Wanted} names */
  const untouched = (...names) => before !== null && names.every((name) => texts[name] === before.texts[name]);
  /** @param {keyof Wanted} name @param {() => unknown} read */
  const value = (name, read) => (before && untouched(name) ? (before.event[name] ?? null) : read());
  /** @param {keyof Wanted} name */
  const text = (name) => value(name, () => texts[name].trim());
  /** @param {keyof Wanted} name */
  const optional = (name) => value(name, () => texts[name].trim() || null);
  /** @param {keyof Wanted} name */
  const number = (name) => value(name, () => Number(texts[name]));
  /** @param {"starts_at" | "ends_at" | "sales_start_at" | "sales_end_at"} name */
  const instant = (name) => {
    const old = before?.event[name];
    if (Number.isNaN(Date.parse(`${texts[name]}Z`))) return null;
    return old && wallClock(old, texts.time_zone) === texts[name] ? old : instantOf(texts[name], texts.time_zone);
  };
  const perPerson = () => value("max_seats_per_person", () => Number(texts.max_seats_per_person) || null);
  return /** @type {any} */ ({
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
    // A new event without a limit omits the field, because an older event-service refuses unknown fields.
    ...(before || texts.max_seats_per_person.trim() ? { max_seats_per_person: perPerson() } : {}),
    price: untouched("price", "currency") ? before?.event.price : (toMinor(texts.price, texts.currency) ?? 0),
    currency: text("currency"),
    sales_start_at: instant("sales_start_at"),
    sales_end_at: instant("sales_end_at"),
  });
}

/**
 * The changes of an event: the body of a PATCH.
 * @param {Partial<Record<keyof Api.EventItem, unknown>>} wanted
 * @param {Api.EventItem} event
 */
export function changesOf(wanted, event) {
  const entries = /** @type {[keyof Api.EventItem, unknown][]} */ (Object.entries(wanted));
  return Object.fromEntries(entries.filter(([name, value]) => value !== (event[name] ?? null)));
}
