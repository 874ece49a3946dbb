// The time zones that an event can be in: those that both event-service and this browser know.
import { get } from "./api.js";

/**
 * @typedef {object} ZoneNames
 * @property {string[]} names sorted
 * @property {(name: string) => string} inUse the name in use of a zone that the browser calls by another name
 */

/**
 * @param {AbortSignal} signal
 * @returns {Promise<ZoneNames>} only what the browser knows while event-service does not answer
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
