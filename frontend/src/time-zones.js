// The time zones that an event can have: those that both event-service and this browser know.
import { get } from "./api.js";

/**
 * @typedef {object} ZoneNames
 * @property {string[]} names sorted
 * @property {(name: string) => string} canonical the current name of a zone, for which the browser may use an alias
 */

/**
 * @param {AbortSignal} signal
 * @returns {Promise<ZoneNames>} the zones of the browser alone if event-service does not respond
 */
export async function zoneNames(signal) {
  const known = Intl.supportedValuesOf("timeZone");
  try {
    /** @type {{ items: string[], aliases: Record<string, string> }} */
    const { items, aliases } = await get("/api/events/time_zones", { signal });
    const canonical = (/** @type {string} */ name) => aliases[name] ?? name;
    const supported = new Set(["UTC", ...known.map(canonical)]);
    return { names: items.filter((name) => supported.has(name)), canonical };
  } catch (error) {
    if (signal.aborted) throw error;
    return { names: known, canonical: (name) => name };
  }
}
