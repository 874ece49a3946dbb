// Who is logged in. The cookies are HttpOnly; what is kept here is only the name to greet before the
// service has answered.
import { ApiError, apiEvents, get, post, refresh, rememberSession, request, sessionHint } from "./api.js";
import { chooseLanguage, language, languages } from "./i18n.js";

const WHO = "session.user";
/** Set after a language was chosen without an account, until a login applies it. */
const CHOSEN = "language.chosen";

/** Fires `change` when somebody logs in or out, here or in another tab. */
export const sessionEvents = new EventTarget();

/** @type {Api.User | null} */
let user = sessionHint() ? stored() : null;

/** @returns {Api.User | null} */
export const currentUser = () => user;

/** Whether the user may create events. */
export const isOrganizer = () => user?.role === "organizer" || user?.role === "admin";

export const isAdmin = () => user?.role === "admin";

/** @returns {Api.User | null} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(WHO) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Api.User | null} next */
function set(next) {
  const changed = JSON.stringify(next) !== JSON.stringify(user);
  user = next;
  if (next) localStorage.setItem(WHO, JSON.stringify(next));
  else localStorage.removeItem(WHO);
  if (changed) sessionEvents.dispatchEvent(new Event("change"));
}

/** Asks user-service who this is; a visitor without a session causes no request. */
export async function loadSession() {
  if (!sessionHint()) return set(null);
  try {
    set(await get("/users/me"));
    await agreeOnLanguage();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) endSession();
  }
}

/**
 * Uses this language from now on, here and in notifications to the account.
 * @param {string} code
 */
export async function speak(code) {
  if (user) await changeProfile({ language: code }).catch(() => localStorage.setItem(CHOSEN, "1"));
  else localStorage.setItem(CHOSEN, "1");
  chooseLanguage(code);
}

/** Changes name or language of the account, and refreshes the session, whose token carries both. @param {{ name?: string, language?: string }} change */
export async function changeProfile(change) {
  set(await request("PATCH", "/users/me", { body: change }));
  await refresh();
}

/** The account's language wins, unless another one was chosen here just before logging in. */
async function agreeOnLanguage() {
  const theirs = user?.language;
  if (theirs === language) localStorage.removeItem(CHOSEN);
  if (!user || theirs === language) return;
  if (theirs && theirs in languages && !localStorage.getItem(CHOSEN)) return chooseLanguage(theirs);
  await changeProfile({ language }).then(
    () => localStorage.removeItem(CHOSEN),
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
  set(answer.user ?? (await get("/users/me")));
  await agreeOnLanguage();
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

/** Ends the session at the service, and here even when the service is away. */
export async function logout() {
  await post("/users/logout").catch(() => undefined);
  endSession();
}

/** Forgets a session that the service no longer knows. */
export function endSession() {
  rememberSession(null);
  set(null);
}

apiEvents.addEventListener("signed-out", endSession);
addEventListener("storage", ({ key }) => {
  if (key === WHO) {
    user = stored();
    sessionEvents.dispatchEvent(new Event("change"));
  }
});
