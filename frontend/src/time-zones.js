// Which time zones an event can be in: those that event-service takes and this browser knows as well.
import { get } from "./api.js";

/**
 * @typedef {object} ZoneNames
 * @property {string[]} names sorted
 * @property {(name: string) => string} inUse the name in use of a zone that the browser calls by another one
 */

/**
 * @param {AbortSignal} signal
 * @returns {Promise<ZoneNames>} what the browser knows, while event-service does not answer
 */
export async function zoneNames(signal) {
  const known = Intl.supportedValuesOf("timeZone");
  try {
    /** @type {{ items: string[], aliases: Record<string, string> }} */
    const { items, aliases } = await get("/api/events/time_zones", { signal });
    const inUse = (/** @type {string} */ name) => aliases[name] ?? name;
    const here = new Set(["UTC", ...known.map(inUse)]);
    return { names: items.filter((name) => here.has(name)), inUse };
  } catch (error) {
    if (signal.aborted) throw error;
    return { names: known, inUse: (name) => name };
  }
}
