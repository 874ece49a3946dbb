// The logged-in user. The session is in HttpOnly cookies; only the profile is stored here, to show it before the service
// responds.
import { ApiError, apiEvents, get, post, refresh, rememberSession, request, sessionHint } from "./api.js";
import { chooseLanguage, language, languages } from "./i18n.js";
import { forgetAll } from "./offline.js";

const USER_KEY = "session.user";
/** Set when a language was chosen without an account, until a login applies it. */
const LANGUAGE_CHOSEN_KEY = "language.chosen";

/** Fires `change` when the user changed, in this or another tab. */
export const sessionEvents = new EventTarget();

/** @type {Api.User | null} */
let user = sessionHint() ? storedUser() : null;

/** @returns {Api.User | null} */
export const currentUser = () => user;

/** Whether the user may create events. */
export const isOrganizer = () => user?.role === "organizer" || user?.role === "admin";

export const isAdmin = () => user?.role === "admin";

/** @returns {Api.User | null} */
function storedUser() {
  try {
    return JSON.parse(localStorage.getItem(USER_KEY) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Api.User | null} next */
function setUser(next) {
  const changed = JSON.stringify(next) !== JSON.stringify(user);
  user = next;
  if (next) localStorage.setItem(USER_KEY, JSON.stringify(next));
  else localStorage.removeItem(USER_KEY);
  if (changed) sessionEvents.dispatchEvent(new Event("change"));
}

/** Loads the user from user-service. Without a session there is no request. */
export async function loadSession() {
  if (!sessionHint()) return setUser(null);
  try {
    setUser(await get("/users/me"));
    await syncLanguage();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) endSession();
  }
}

/**
 * Sets the language of the site and of the user's notifications.
 * @param {string} code
 */
export async function setLanguage(code) {
  if (user) await changeProfile({ language: code }).catch(() => localStorage.setItem(LANGUAGE_CHOSEN_KEY, "1"));
  else localStorage.setItem(LANGUAGE_CHOSEN_KEY, "1");
  chooseLanguage(code);
}

/** Changes name or language of the account, and refreshes the session, because its token contains both. @param {{ name?: string, language?: string }} change */
export async function changeProfile(change) {
  setUser(await request("PATCH", "/users/me", { body: change }));
  await refresh();
}

/** Uses the account's language, unless another one was chosen here before logging in. */
async function syncLanguage() {
  const accountLanguage = user?.language;
  if (accountLanguage === language) localStorage.removeItem(LANGUAGE_CHOSEN_KEY);
  if (!user || accountLanguage === language) return;
  if (accountLanguage && accountLanguage in languages && !localStorage.getItem(LANGUAGE_CHOSEN_KEY))
    return chooseLanguage(accountLanguage);
  await changeProfile({ language }).then(
    () => localStorage.removeItem(LANGUAGE_CHOSEN_KEY),
    () => undefined,
  );
}

/**
 * @param {string} email
 * @param {string} password
 */
export async function login(email, password) {
  const answer = await post("/users/login", { email, password, session: "cookie" });
  rememberSession(answer.expires_in);
  setUser(answer.user ?? (await get("/users/me")));
  await syncLanguage();
}

/**
 * @param {{ email: string, password: string, name: string, role: string }} account
 * @returns {Promise<Api.User>}
 */
export async function register(account) {
  const created = await post("/users/register", account);
  await login(account.email, account.password);
  return created;
}

/** Ends the session at the service, and here even if the service is unavailable. */
export async function logout() {
  await post("/users/logout").catch(() => undefined);
  endSession();
}

/** Deletes the local state of an ended session. */
export function endSession() {
  rememberSession(null);
  setUser(null);
  void forgetAll().catch(() => undefined);
}

apiEvents.addEventListener("signed-out", endSession);
addEventListener("storage", ({ key }) => {
  if (key === USER_KEY) {
    user = storedUser();
    sessionEvents.dispatchEvent(new Event("change"));
  }
});
