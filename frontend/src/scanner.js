// Scans at the door: the service decides, or without a network the list of tickets that was loaded before.
import { ApiError, NetworkError, get, getAllPages, post, request } from "./api.js";
import { pause } from "./dom.js";
import { matches } from "./fold.js";
import { forget, keep, kept } from "./offline.js";

/** @typedef {"good" | "warn" | "bad"} Tone */

/**
 * What a scan shows. `kind` is the code of a refusal, or `ok`; `offline` says that the service has not decided yet.
 * @typedef {object} Verdict
 * @property {Tone} tone
 * @property {string} kind
 * @property {number} [ticketId]
 * @property {string} [holder]
 * @property {string} [at] when the ticket was checked in
 * @property {string | null} [device] that checked it in
 * @property {boolean} [offline]
 */

/** A code, or a ticket that was found by name. @typedef {{ code: string } | { ticket_id: number }} Target */
/** A scan as it is sent. @typedef {Target & { event_id: string, scan_id: string, device: string }} Scan */
/** What is needed without a network. @typedef {{ event: Api.EventItem, keys: Api.TicketKey[], tickets: Api.ExpectedTicket[] }} DoorList */

const SYNC_MS = 60_000;
const SEND_MS = 5000;
/** People at the door wait no longer for the service. */
const ANSWER_MS = 3000;
/** As in `services/booking/src/domain/ticket.rs`. */
const OPENS_BEFORE_MS = 24 * 3_600_000;
const REFUSALS_TO_LOOK_AT = ["already_checked_in", "too_early", "ticket_changed"];

/** Whether a text has the form of a code. @param {string} text */
export const isCode = (text) => /^[\w-]{1,32}\.[\w-]{107}$/.test(text);

/** @param {string} eventId */
const listName = (eventId) => `door.${eventId}`;

/** The list that was loaded before, if any. @param {string} eventId @returns {Promise<DoorList | undefined>} */
export const storedList = (eventId) => kept(listName(eventId)).catch(() => undefined);

export class Scanner {
  /** The keys by their names. @type {Map<string, CryptoKey>} */
  #keys = new Map();
  /** @type {Api.ExpectedTicket[]} */
  #tickets = [];
  /** Accepted without a network, and not sent yet. @type {Scan[]} */
  #queue;
  /** Accepted without a network, and refused by the service afterwards. @type {Verdict[]} */
  conflicts;
  #sending = false;

  /**
   * @param {object} options
   * @param {Api.EventItem} options.event
   * @param {string} [options.token] of a door link
   * @param {AbortSignal} options.signal
   * @param {() => void} options.onChange
   * @param {(error: unknown) => void} options.onError called with failures that no retry mends
   */
  constructor({ event, token, signal, onChange, onError }) {
    this.event = event;
    this.token = token;
    this.signal = signal;
    this.onChange = onChange;
    this.device = "";
    ({ queue: this.#queue = [], conflicts: this.conflicts = [] } = storedScans(event.id));
    /** @param {() => Promise<void>} task @param {number} ms */
    const repeat = (task, ms) => setInterval(() => task().catch((error) => isPassing(error) || onError(error)), ms);
    const timers = [repeat(() => this.sync(), SYNC_MS), repeat(() => this.sendQueue(), SEND_MS)];
    signal.addEventListener("abort", () => timers.forEach(clearInterval));
  }

  /** How many have come, and how many are expected, as far as is known here. */
  get counts() {
    const live = this.#tickets.filter(({ state }) => state !== "void");
    return { present: live.filter(({ state }) => state === "used").length, expected: live.length };
  }

  /** How many scans wait for the network. */
  get waiting() {
    return this.#queue.length;
  }

  /** Tickets by the name of their holder or the number of their booking. @param {string} text */
  search(text) {
    const number = text.trim().replace(/^#/, "");
    return this.#tickets.filter(
      ({ holder_name: holder, booking_id: booking }) => String(booking) === number || matches(holder, text),
    );
  }

  /** Loads the keys and the tickets of the event, and stores them. */
  async sync() {
    const { event, token, signal } = this;
    const [{ keys }, tickets] = await Promise.all([
      get("/tickets/keys", { token, signal }),
      getAllPages("/tickets", { event_id: event.id }, signal, token),
    ]);
    await this.use({ event, keys, tickets });
    await keep(listName(event.id), { event, keys, tickets }).catch(() => undefined);
  }

  /** @param {DoorList} list */
  async use({ keys, tickets }) {
    // Pages of an origin that is not secure cannot verify signatures, and depend on the service.
    for (const key of crypto.subtle ? keys : []) {
      const algorithm = { name: "ECDSA", namedCurve: "P-256" };
      this.#keys.set(key.kid, await crypto.subtle.importKey("jwk", key, algorithm, false, ["verify"]));
    }
    this.#tickets = tickets;
    for (const scan of this.#queue) {
      const ticket = this.#find(scan);
      if (ticket?.state === "valid") ticket.state = "used";
    }
    this.onChange();
  }

  /** Deletes the stored list, once it may not be used any more. */
  forget() {
    return forget(listName(this.event.id));
  }

  /** @param {Target} target @returns {Promise<Verdict>} */
  async scan(target) {
    /** @type {Scan} */
    const scan = { ...target, event_id: this.event.id, scan_id: newId(), device: this.device };
    const late = pause(ANSWER_MS, this.signal).then(() => Promise.reject(new NetworkError("late")));
    try {
      return await Promise.race([this.#send(scan), late]);
    } catch (error) {
      // Nobody sees the verdict of a scan after the page was left.
      if (this.signal.aborted || !isPassing(error)) throw error;
      return await this.#judge(scan);
    } finally {
      this.onChange();
    }
  }

  /** Makes a ticket valid again that was checked in by mistake. @param {number} ticketId */
  async undo(ticketId) {
    await request("DELETE", `/tickets/check-ins/${ticketId}`, { signal: this.signal });
    const ticket = this.#tickets.find(({ id }) => id === ticketId);
    if (ticket) Object.assign(ticket, { state: "valid", checked_in_at: null });
    this.onChange();
  }

  /** Sends the scans that wait. */
  async sendQueue() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#queue.length) {
        const verdict = await this.#send(this.#queue[0]);
        this.#queue.shift();
        if (verdict.tone !== "good") this.conflicts.push(verdict);
        this.#store();
      }
    } finally {
      this.#sending = false;
    }
  }

  /** Removes the conflicts that were read. */
  clearConflicts() {
    this.conflicts = [];
    this.#store();
  }

  /** @param {Scan} scan @returns {Promise<Verdict>} */
  async #send(scan) {
    const ticket = this.#find(scan);
    try {
      const answer = await post("/tickets/check-ins", scan, { token: this.token, signal: this.signal });
      if (ticket) Object.assign(ticket, { state: "used", checked_in_at: answer.checked_in_at });
      const { ticket_id: ticketId, holder_name: holder, checked_in_at: at } = answer;
      return { tone: "good", kind: "ok", ticketId, holder, at };
    } catch (error) {
      if (!(error instanceof ApiError) || ![404, 409, 422].includes(error.status)) throw error;
      const { code: kind, problem } = error;
      const { checked_in_at: at, device } = problem;
      if (ticket && kind === "already_checked_in") Object.assign(ticket, { state: "used", checked_in_at: at });
      const tone = REFUSALS_TO_LOOK_AT.includes(kind) ? "warn" : "bad";
      // Whoever forged a code copied the id of a real ticket, whose holder it does not name.
      const known = kind === "ticket_forged" ? undefined : ticket;
      return { tone, kind, ticketId: known?.id, holder: known?.holder_name, at, device };
    }
  }

  /** Decides without the service: by the signature and the list. @param {Scan} scan @returns {Promise<Verdict>} */
  async #judge(scan) {
    const isOurs = "code" in scan ? await this.#verify(scan.code) : true;
    const ticket = isOurs ? this.#find(scan) : undefined;
    const at = ticket?.checked_in_at ?? undefined;
    const verdict = { ticketId: ticket?.id, holder: ticket?.holder_name, at, offline: true };
    if (isOurs === undefined) return { ...verdict, tone: "warn", kind: "unchecked" };
    if (!isOurs) return { ...verdict, tone: "bad", kind: "ticket_forged" };
    // Booked since the list was loaded, or reissued, or for another event.
    if (!ticket) return { ...verdict, tone: "warn", kind: "unknown" };
    if (ticket.state === "void") return { ...verdict, tone: "bad", kind: "ticket_void" };
    if (ticket.state === "used") return { ...verdict, tone: "warn", kind: "already_checked_in" };
    if (Date.parse(this.event.starts_at) - OPENS_BEFORE_MS > Date.now())
      return { ...verdict, tone: "warn", kind: "too_early" };
    Object.assign(ticket, { state: "used", checked_in_at: new Date().toISOString() });
    this.#queue.push(scan);
    this.#store();
    return { ...verdict, tone: "good", kind: "ok" };
  }

  /** @param {Target} target */
  #find(target) {
    if ("ticket_id" in target) return this.#tickets.find(({ id }) => id === target.ticket_id);
    const id = codeId(target.code);
    return this.#tickets.find(({ code_id: codeId }) => codeId === id);
  }

  /** Whether the code is ours; undefined if that cannot be told here. @param {string} code */
  async #verify(code) {
    const bytes = codeBytes(code);
    if (!bytes) return false;
    if (!this.#keys.size) return undefined;
    const key = this.#keys.get(code.slice(0, code.lastIndexOf(".")));
    const algorithm = { name: "ECDSA", hash: "SHA-256" };
    return key ? crypto.subtle.verify(algorithm, key, bytes.slice(16), bytes.slice(0, 16)) : false;
  }

  #store() {
    const scans = { queue: this.#queue, conflicts: this.conflicts };
    localStorage.setItem(scansKey(this.event.id), JSON.stringify(scans));
    this.onChange();
  }
}

/** @param {string} eventId */
const scansKey = (eventId) => `scans.${eventId}`;

/** @param {string} eventId @returns {{ queue?: Scan[], conflicts?: Verdict[] }} */
const storedScans = (eventId) => JSON.parse(localStorage.getItem(scansKey(eventId)) ?? "{}");

/** Whether the same request may succeed later. @param {unknown} error */
export const isPassing = (error) =>
  error instanceof NetworkError ||
  (error instanceof DOMException && error.name === "AbortError") ||
  (error instanceof ApiError && (error.status >= 500 || [408, 425, 429].includes(error.status)));

/** The id and the signature in a code, if it has the form of one. @param {string} code */
function codeBytes(code) {
  if (!isCode(code)) return undefined;
  const body = code.slice(code.lastIndexOf(".") + 1);
  const base64 = body.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(`${base64}=`), (character) => character.charCodeAt(0));
}

/** The id in a code, as the list has it. @param {string} code */
function codeId(code) {
  const bytes = codeBytes(code);
  return bytes && uuid(bytes.slice(0, 16));
}

/** A random UUID. Pages of an origin that is not secure have no `randomUUID`. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return uuid(bytes);
}

/** @param {Uint8Array} bytes */
function uuid(bytes) {
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
