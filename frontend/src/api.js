// The only `fetch`. The session is in HttpOnly cookies. When the access cookie has expired, it is refreshed once for all
// waiting requests, and the request is repeated.

/** Key of the access cookie's expiry, in milliseconds since 1970; absent if nobody is logged in. */
const EXPIRES_AT_KEY = "session.good_until";
const TIMEOUT_MS = 20_000;

/** The error response of a service, with the stable `code` of its problem+json. */
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

/** No response: the network is down, or the request timed out. */
export class NetworkError extends Error {}

/** Fires `signed-out` when the session has ended at the services. */
export const apiEvents = new EventTarget();

/** Sends the paths of writes to the site's other tabs. */
export const writes = new BroadcastChannel("writes");

let skew = 0;

/** The time of the services' clock, so that a countdown is right even if the computer's clock is wrong. */
export const serverNow = () => Date.now() + (Math.abs(skew) > 2000 ? skew : 0);

/**
 * @typedef {object} Options
 * @property {unknown} [body]
 * @property {Record<string, string | number | boolean | null | undefined>} [query]
 * @property {string} [key] the Idempotency-Key, with which the request can be repeated safely
 * @property {AbortSignal} [signal]
 * @property {string} [token] of a door link, in place of the session
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
 * @param {string} [token]
 * @returns {Promise<any[]>}
 */
export async function getAllPages(path, query, signal, token) {
  const items = [];
  let cursor = null;
  do {
    /** @type {Api.Page<any>} */
    const page = await get(path, { query: { ...query, limit: 100, cursor }, signal, token });
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
  const hasSession = () => !options.token && sessionHint();
  if (hasSession() && !sessionHint(Date.now() + 5000)) await refresh();
  let response = await sendWithRetries(method, path, options);
  if (response.status === 401 && hasSession() && (await refresh())) {
    response = await sendWithRetries(method, path, options);
  }
  if (!response.ok) throw await ApiError.from(response);
  if (method !== "GET") writes.postMessage(path);
  return response.status === 204 ? undefined : response.json();
}

/**
 * Retries reads, and writes with an Idempotency-Key, when there was no response or one of a proxy.
 * @param {string} method
 * @param {string} path
 * @param {Options} options
 * @returns {Promise<Response>}
 */
async function sendWithRetries(method, path, options) {
  const maxAttempts = method === "GET" || options.key ? 3 : 1;
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await send(method, path, options);
      const fromProxy = response.status >= 502 && !response.headers.get("Content-Type")?.includes("problem");
      if (!fromProxy || attempt === maxAttempts) return response;
    } catch (error) {
      if (!(error instanceof NetworkError) || attempt === maxAttempts) throw error;
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
async function send(method, path, { body, query = {}, key, signal, token }) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "" && value !== false)
      url.searchParams.set(name, String(value));
  }
  const headers = new Headers({ Accept: "application/json" });
  if (body !== undefined) headers.set("Content-Type", "application/json");
  if (key) headers.set("Idempotency-Key", key);
  if (token) headers.set("Authorization", `Bearer ${token}`);
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
 * Whether the stored session is valid at a time; without one, whether there is a stored session.
 * @param {number} [at]
 */
export function sessionHint(at = 0) {
  return Number(localStorage.getItem(EXPIRES_AT_KEY) ?? -1) > at;
}

/** @param {number | null} seconds `expires_in`, or null after a logout */
export function rememberSession(seconds) {
  if (seconds === null) localStorage.removeItem(EXPIRES_AT_KEY);
  else localStorage.setItem(EXPIRES_AT_KEY, String(Date.now() + seconds * 1000));
}

/** @type {Promise<boolean> | undefined} */
let refreshing;

/**
 * Refreshes the session cookies, once for all concurrent callers in all tabs.
 * @returns {Promise<boolean>} whether there is still a session
 */
export function refresh() {
  refreshing ??= withSessionLock(refreshSession).finally(() => (refreshing = undefined));
  return refreshing;
}

/**
 * @param {() => Promise<boolean>} task
 * @returns {Promise<boolean>}
 */
async function withSessionLock(task) {
  const before = localStorage.getItem(EXPIRES_AT_KEY);
  // Locks exist only in secure contexts. Without them, user-service tolerates concurrent refreshes of two tabs.
  if (!navigator.locks) return task();
  return navigator.locks.request("session", async () => {
    const refreshedElsewhere = localStorage.getItem(EXPIRES_AT_KEY) !== before && sessionHint(Date.now());
    return refreshedElsewhere || task();
  });
}

/** @returns {Promise<boolean>} */
async function refreshSession() {
  const response = await sendWithRetries("POST", "/users/token/refresh", { body: {} });
  if (response.ok) {
    rememberSession((await response.json()).expires_in ?? 300);
    return true;
  }
  // Transient errors do not end the session.
  if (response.status >= 500 || [408, 425, 429].includes(response.status)) throw await ApiError.from(response);
  rememberSession(null);
  apiEvents.dispatchEvent(new Event("signed-out"));
  return false;
}
