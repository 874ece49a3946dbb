// What the visitor means to do exactly once. Each intent keeps its Idempotency-Key in sessionStorage until it
// is answered for good, so that a reload, a double click, the back button or a lost answer cannot do it twice.
import { ApiError, post } from "./api.js";

/** @typedef {{ key: string, body: string, user: number, at: number }} Intent */

/** How long a reloaded page takes up an unanswered intent by itself. */
const RESUME_MS = 120_000;

/** @type {Map<string, Promise<any>>} */
const running = new Map();

/**
 * POSTs under the key of the intent `name`; asking again while it runs waits for the same answer.
 * @param {string} name such as `book:42`
 * @param {number} user whose intent it is
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export function carryOut(name, user, path, body) {
  const going = running.get(name);
  if (going) return going;
  const work = send(name, user, path, body).finally(() => running.delete(name));
  running.set(name, work);
  return work;
}

/**
 * The body of an intent that was sent a moment ago and never answered.
 * @param {string} name
 * @param {number} user
 * @returns {any}
 */
export function unanswered(name, user) {
  const intent = read(name);
  if (!intent || intent.user !== user || Date.now() - intent.at > RESUME_MS) return undefined;
  return JSON.parse(intent.body);
}

/**
 * The body of an intent that was refused because the session had ended.
 * @param {string} name
 * @param {number} user
 * @returns {any}
 */
export function interrupted(name, user) {
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
  const { key } = keep(name, user, JSON.stringify(body));
  try {
    const answer = await post(path, body, { key });
    forget(name);
    return answer;
  } catch (error) {
    if (error instanceof ApiError && isFinal(error)) forget(name);
    // Without a session nothing was done. Logging in must not do it by itself, so the user is asked once more.
    if (error instanceof ApiError && error.status === 401) keep(name, user, JSON.stringify(body), 0);
    throw error;
  }
}

/**
 * Whether a refusal settles the intent, so that the next try is a new one.
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
function keep(name, user, body, at = Date.now()) {
  const old = read(name);
  const same = old && old.body === body && old.user === user;
  const intent = { key: same ? old.key : newKey(), body, user, at };
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
function forget(name) {
  sessionStorage.removeItem(`intent:${name}`);
}

/** 128 random bits; `crypto.randomUUID` would need a secure context. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
