// The only `fetch`. Cookies carry the session, so no token is ever seen here; when the access cookie
// has run out it is renewed once for all waiting requests, and the request goes out again.

/** Milliseconds since 1970 until which the access cookie is good; absent when nobody is logged in. */
const GOOD_UNTIL = "session.good_until";
const TIMEOUT_MS = 20_000;

/** A refusal by a service, with the stable `code` of its problem+json. */
export class ApiError extends Error {
  /**
   * @param {Api.Problem} problem
   * @param {number} retryAfter seconds, or 0
   */
  constructor(problem, retryAfter = 0) {
    super(problem.detail ?? problem.title ?? problem.code);
    this.problem = problem;
    this.status = problem.status;
    this.code = problem.code;
    this.retryAfter = retryAfter;
  }

  /** @param {Response} response */
  static async from(response) {
    const body = await response.json().catch(() => ({}));
    return new ApiError(
      { code: "", ...body, status: response.status },
      Number(response.headers.get("Retry-After")) || 0,
    );
  }
}

/** No answer at all: the network is gone, or it took too long. */
export class NetworkError extends Error {}

/** Fires `signed-out` when the services no longer know the session. */
export const apiEvents = new EventTarget();

/** Tells the site's other tabs the path to which something was written. */
export const writes = new BroadcastChannel("writes");

let skew = 0;

/** The services' clock, so that a countdown is right on a computer whose clock is wrong. */
export const serverNow = () => Date.now() + (Math.abs(skew) > 2000 ? skew : 0);

/**
 * @typedef {object} Options
 * @property {unknown} [body]
 * @property {Record<string, string | number | boolean | null | undefined>} [query]
 * @property {string} [key] the Idempotency-Key; makes it safe to send the request again
 * @property {AbortSignal} [signal]
 */

/**
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export const get = (path, options) => request("GET", path, options);

/**
 * @param {string} path
 * @param {unknown} [body]
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export const post = (path, body = {}, options = {}) => request("POST", path, { ...options, body });

/**
 * All items of a list, page by page.
 * @param {string} path
 * @param {Record<string, unknown>} query
 * @param {AbortSignal} signal
 * @returns {Promise<any[]>}
 */
export async function everyPage(path, query, signal) {
  const items = [];
  let cursor = null;
  do {
    /** @type {Api.Page<any>} */
    const page = await get(path, { query: { ...query, limit: 100, cursor }, signal });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return items;
}

/**
 * @param {"GET" | "POST" | "PUT" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function request(method, path, options = {}) {
  if (sessionHint() && !sessionHint(Date.now() + 5000)) await refresh();
  let response = await sendPatiently(method, path, options);
  if (response.status === 401 && sessionHint() && (await refresh())) {
    response = await sendPatiently(method, path, options);
  }
  if (!response.ok) throw await ApiError.from(response);
  if (method !== "GET") writes.postMessage(path);
  return response.status === 204 ? undefined : response.json();
}

/**
 * Sends again what may be sent again: reads, and writes under an Idempotency-Key, when nobody answered
 * or a proxy did in a service's place.
 * @param {string} method
 * @param {string} path
 * @param {Options} options
 * @returns {Promise<Response>}
 */
async function sendPatiently(method, path, options) {
  const tries = method === "GET" || options.key ? 3 : 1;
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await send(method, path, options);
      const fromProxy = response.status >= 502 && !response.headers.get("Content-Type")?.includes("problem");
      if (!fromProxy || attempt === tries) return response;
    } catch (error) {
      if (!(error instanceof NetworkError) || attempt === tries) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 400 * 3 ** (attempt - 1)));
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Options} options
 * @returns {Promise<Response>}
 */
async function send(method, path, { body, query = {}, key, signal }) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "" && value !== false)
      url.searchParams.set(name, String(value));
  }
  const headers = new Headers({ Accept: "application/json" });
  if (body !== undefined) headers.set("Content-Type", "application/json");
  if (key) headers.set("Idempotency-Key", key);
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (date) skew = date - Date.now();
    return response;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw new NetworkError("no answer", { cause: error });
  }
}

/**
 * Whether somebody is logged in as far as this browser knows, at a given time or at all.
 * @param {number} [at]
 */
export function sessionHint(at = 0) {
  return Number(localStorage.getItem(GOOD_UNTIL) ?? -1) > at;
}

/** @param {number | null} seconds what `expires_in` said, or null once logged out */
export function rememberSession(seconds) {
  if (seconds === null) localStorage.removeItem(GOOD_UNTIL);
  else localStorage.setItem(GOOD_UNTIL, String(Date.now() + seconds * 1000));
}

/** @type {Promise<boolean> | undefined} */
let refreshing;

/**
 * Renews the session cookies, once for all who ask meanwhile, in this tab and in others.
 * @returns {Promise<boolean>} whether there is still a session
 */
export function refresh() {
  refreshing ??= exclusively(renew).finally(() => (refreshing = undefined));
  return refreshing;
}

/**
 * @param {() => Promise<boolean>} work
 * @returns {Promise<boolean>}
 */
async function exclusively(work) {
  const before = localStorage.getItem(GOOD_UNTIL);
  // Locks exist in secure contexts only; without them user-service still forgives two tabs at once.
  if (!navigator.locks) return work();
  return navigator.locks.request("session", async () => {
    const renewedElsewhere = localStorage.getItem(GOOD_UNTIL) !== before && sessionHint(Date.now());
    return renewedElsewhere || work();
  });
}

/** @returns {Promise<boolean>} */
async function renew() {
  const response = await sendPatiently("POST", "/users/token/refresh", { body: {} });
  if (response.ok) {
    rememberSession((await response.json()).expires_in ?? 300);
    return true;
  }
  // These pass, and say nothing of the session.
  if (response.status >= 500 || [408, 425, 429].includes(response.status)) throw await ApiError.from(response);
  rememberSession(null);
  apiEvents.dispatchEvent(new Event("signed-out"));
  return false;
}
