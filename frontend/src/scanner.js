// Scans at the door: decided by the service, or without a network from the list of tickets that was loaded before.
import { ApiError, NetworkError, get, getAllPages, post } from "./api.js";

/** @typedef {"good" | "warn" | "bad"} Tone */

/**
 * What a scan shows. `kind` is the code of a refusal, or `ok`; `offline` says that the service has not decided yet.
 * @typedef {{ tone: Tone, kind: string, holder?: string, at?: string, device?: string | null, offline?: boolean }} Verdict
 */

/** A scan as it is sent. @typedef {{ event_id: string, code: string, scan_id: string, device: string }} Scan */

const SYNC_MS = 60_000;
/** People wait at the door no longer than this for the service. */
const ANSWER_MS = 5000;
const FLUSH_MS = 5000;

export class Scanner {
  /** The keys by name. @type {Map<string, CryptoKey>} */
  #keys = new Map();
  /** What was loaded, by the id in the code. @type {Map<string, Api.ExpectedTicket>} */
  #tickets = new Map();
  /** Scans that wait for the network. @type {Scan[]} */
  #queue;
  /** Scans that were accepted without a network and refused by the service afterwards. @type {Verdict[]} */
  conflicts = [];

  /**
   * @param {object} options
   * @param {string} options.event
   * @param {string} options.device
   * @param {string} [options.token] of a door link
   * @param {AbortSignal} options.signal
   * @param {() => void} options.onChange
   */
  constructor({ event, device, token, signal, onChange }) {
    this.event = event;
    this.device = device;
    this.onChange = onChange;
    this.options = { token, signal };
    this.queueKey = `scans.${event}`;
    this.#queue = JSON.parse(localStorage.getItem(this.queueKey) ?? "[]");
    const sync = setInterval(() => this.sync().catch(() => undefined), SYNC_MS);
    const flush = setInterval(() => this.flush().catch(() => undefined), FLUSH_MS);
    signal.addEventListener("abort", () => (clearInterval(sync), clearInterval(flush)));
  }

  /** How many have come, and how many are expected, as far as is known here. */
  get counts() {
    const live = [...this.#tickets.values()].filter(({ state }) => state !== "void");
    return { present: live.filter(({ state }) => state === "used").length, expected: live.length };
  }

  get waiting() {
    return this.#queue.length;
  }

  /** Loads the keys and the tickets of the event. */
  async sync() {
    const [{ keys }, tickets] = await Promise.all([
      get("/tickets/keys", { signal: this.options.signal }),
      getAllPages("/tickets", { event_id: this.event }, this.options.signal, this.options.token),
    ]);
    // Only pages of a secure origin can verify signatures; others ask the service.
    for (const key of crypto.subtle ? keys : []) {
      const algorithm = { name: "ECDSA", namedCurve: "P-256" };
      this.#keys.set(key.kid, await crypto.subtle.importKey("jwk", key, algorithm, false, ["verify"]));
    }
    const waiting = new Set(this.#queue.map(({ code }) => codeId(code)));
    this.#tickets = new Map(
      tickets.map((/** @type {Api.ExpectedTicket} */ ticket) => [
        ticket.code_id,
        waiting.has(ticket.code_id) && ticket.state === "valid" ? { ...ticket, state: "used" } : ticket,
      ]),
    );
    this.onChange();
  }

  /** @param {string} code @returns {Promise<Verdict>} */
  async scan(code) {
    /** @type {Scan} */
    const scan = { event_id: this.event, code, scan_id: newId(), device: this.device };
    try {
      return await this.#send(scan);
    } catch (error) {
      if (!isPassing(error)) throw error;
      return this.#judge(scan);
    } finally {
      this.onChange();
    }
  }

  /** Sends what waits. What the service refuses becomes a conflict. */
  async flush() {
    while (this.#queue.length) {
      const verdict = await this.#send(this.#queue[0]);
      if (verdict.tone !== "good") this.conflicts.push(verdict);
      this.#queue.shift();
      this.#store();
    }
  }

  /** @param {Scan} scan @returns {Promise<Verdict>} */
  async #send(scan) {
    const known = this.#tickets.get(codeId(scan.code) ?? "");
    try {
      const signal = AbortSignal.any([this.options.signal, AbortSignal.timeout(ANSWER_MS)]);
      const options = { token: this.options.token, signal };
      const { holder_name: holder, checked_in_at: at } = await post("/tickets/check-ins", scan, options);
      if (known) Object.assign(known, { state: "used", checked_in_at: at });
      return { tone: "good", kind: "ok", holder, at };
    } catch (error) {
      if (!(error instanceof ApiError) || ![409, 422].includes(error.status)) throw error;
      const { checked_in_at: at, device } = error.problem;
      if (known && error.code === "already_checked_in") Object.assign(known, { state: "used", checked_in_at: at });
      const tone = error.code === "already_checked_in" || error.code === "too_early" ? "warn" : "bad";
      return { tone, kind: error.code, holder: known?.holder_name, at, device };
    }
  }

  /** Decides without the service: by the signature and the list. @param {Scan} scan @returns {Promise<Verdict>} */
  async #judge(scan) {
    const verified = await this.#verify(scan.code);
    if (verified === undefined) return { tone: "warn", kind: "unchecked", offline: true };
    if (!verified) return { tone: "bad", kind: "ticket_forged", offline: true };
    const ticket = this.#tickets.get(codeId(scan.code) ?? "");
    if (!ticket) return { tone: "bad", kind: "unknown", offline: true };
    const { holder_name: holder, checked_in_at: at } = ticket;
    if (ticket.state === "void") return { tone: "bad", kind: "ticket_void", holder, offline: true };
    if (ticket.state === "used")
      return { tone: "warn", kind: "already_checked_in", holder, at: at ?? undefined, offline: true };
    Object.assign(ticket, { state: "used", checked_in_at: new Date().toISOString() });
    this.#queue.push(scan);
    this.#store();
    return { tone: "good", kind: "ok", holder, offline: true };
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
    localStorage.setItem(this.queueKey, JSON.stringify(this.#queue));
    this.onChange();
  }
}

/** Whether the same request may succeed later. @param {unknown} error */
const isPassing = (error) =>
  error instanceof NetworkError ||
  (error instanceof DOMException && error.name === "TimeoutError") ||
  (error instanceof ApiError && (error.status >= 500 || error.status === 429));

/** The id and the signature in a code, if it has the form of one. @param {string} code */
function codeBytes(code) {
  const body = code
    .slice(code.lastIndexOf(".") + 1)
    .replaceAll("-", "+")
    .replaceAll("_", "/");
  if (!/^[\w-]{1,32}\.[\w-]{107}$/.test(code)) return undefined;
  return Uint8Array.from(atob(`${body}=`), (character) => character.charCodeAt(0));
}

/** The id in a code, as the list has it. @param {string} code */
function codeId(code) {
  const hex = [...(codeBytes(code)?.slice(0, 16) ?? [])].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex ? hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-") : undefined;
}

/** A random UUID. Pages of an origin that is not secure have no `randomUUID`. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
