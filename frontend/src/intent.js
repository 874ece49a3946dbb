// Requests that must have their effect once (intents). The Idempotency-Key of an intent stays in sessionStorage until a
// final response, so that a reload, a double click, the back button or a lost response cannot repeat the effect.
import { ApiError, post } from "./api.js";

/** @typedef {{ key: string, body: string, user: number, at: number }} Intent */

/** How long a reloaded page resumes a pending intent automatically. */
const RESUME_MS = 120_000;

/** @type {Map<string, Promise<any>>} */
const running = new Map();

/**
 * POSTs with the key of the intent `name`. Concurrent calls share one request.
 * @param {string} name such as `book:42`
 * @param {number} user the user of the intent
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export function postOnce(name, user, path, body) {
  const current = running.get(name);
  if (current) return current;
  const request = send(name, user, path, body).finally(() => running.delete(name));
  running.set(name, request);
  return request;
}

/**
 * The body of an intent that was sent recently and got no final response.
 * @param {string} name
 * @param {number} user
 * @returns {any}
 */
export function pendingBody(name, user) {
  const intent = read(name);
  if (!intent || intent.user !== user || Date.now() - intent.at > RESUME_MS) return undefined;
  return JSON.parse(intent.body);
}

/**
 * The body of an intent that failed because the session had ended.
 * @param {string} name
 * @param {number} user
 * @returns {any}
 */
export function unauthorizedBody(name, user) {
  const intent = read(name);
  return intent?.user === user && intent.at === 0 ? JSON.parse(intent.body) : undefined;
}

/**
 * @param {string} name
 * @param {number} user
 * @param {string} path
 * @param {object} body
 */
async function send(name, user, path, body) {
  const { key } = store(name, user, JSON.stringify(body));
  try {
    const answer = await post(path, body, { key });
    remove(name);
    return answer;
  } catch (error) {
    if (error instanceof ApiError && isFinal(error)) remove(name);
    // Without a session the request had no effect. After logging in, the user has to confirm it again.
    if (error instanceof ApiError && error.status === 401) store(name, user, JSON.stringify(body), 0);
    throw error;
  }
}

/**
 * Whether an error is final, so that the next attempt is a new intent.
 * @param {ApiError} error
 */
function isFinal({ status, code }) {
  return status < 500 && ![401, 408, 425, 429].includes(status) && code !== "request_in_progress";
}

/**
 * @param {string} name
 * @param {number} user
 * @param {string} body
 * @param {number} [at]
 * @returns {Intent}
 */
function store(name, user, body, at = Date.now()) {
  const previous = read(name);
  const isSame = previous && previous.body === body && previous.user === user;
  const intent = { key: isSame ? previous.key : newKey(), body, user, at };
  sessionStorage.setItem(`intent:${name}`, JSON.stringify(intent));
  return intent;
}

/**
 * @param {string} name
 * @returns {Intent | null}
 */
function read(name) {
  return JSON.parse(sessionStorage.getItem(`intent:${name}`) ?? "null");
}

/** @param {string} name */
function remove(name) {
  sessionStorage.removeItem(`intent:${name}`);
}

/** 128 random bits; `crypto.randomUUID` would need a secure context. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
