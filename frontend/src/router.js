// One URL, one page: the table of routes, navigation without reload, focus and scroll position.
import { ApiError } from "./api.js";
import { announce, find, h } from "./dom.js";
import { t } from "./i18n.js";
import { currentUser, endSession, isAdmin, isOrganizer } from "./session.js";
import { problemView } from "./views.js";

/**
 * Paths, the modules of their pages in `pages/`, and who may see them. The server answers the same paths with
 * index.html: `frontend/server/src/routes.rs`.
 * @type {[string, string, ("user" | "organizer" | "admin")?][]}
 */
const ROUTES = [
  ["/", "events"],
  ["/events/:id", "event"],
  ["/login", "account"],
  ["/register", "account"],
  ["/me/account", "settings", "user"],
  ["/me/bookings", "bookings", "user"],
  ["/me/bookings/:id", "booking", "user"],
  ["/me/notifications", "notifications", "user"],
  ["/organizer", "organizer", "organizer"],
  ["/organizer/events/new", "organizer-event", "organizer"],
  ["/organizer/events/:id", "organizer-event", "organizer"],
  ["/organizer/events/:id/bookings", "organizer-bookings", "organizer"],
  ["/admin", "admin", "admin"],
];

/** @typedef {ReturnType<typeof routeOf>} Route */

/** The route of a path, if it has one. @param {string} path */
function routeOf(path) {
  path = withoutSlash(path);
  for (const [pattern, page, needs] of ROUTES) {
    const match = new RegExp(`^${pattern.replace(":id", "([\\w-]+)")}$`).exec(path);
    if (match) {
      return {
        id: match[1] ?? "",
        needs,
        load: () => /** @type {Promise<PageModule>} */ (import(`./pages/${page}.js`)),
      };
    }
  }
}

/** A page has one address, without a slash at its end. @param {string} path */
const withoutSlash = (path) => path.replace(/(?<=.)\/+$/, "");

/** Fires `change` after each navigation. */
export const routerEvents = new EventTarget();

/** Where the visitor was on the page of a history entry. @type {Map<string, { scroll: number, focus?: string }>} */
const places = new Map();
let leaving = new AbortController();
let entry = "";
/** The address of the page on screen, without the fragment. */
let shown = "";
const address = () => location.pathname + location.search;
/** How many history entries come before the page on screen. */
let position = 0;

/** @typedef {{ unsaved: () => boolean, ask: () => Promise<boolean> }} Hold */

/** What the page on screen would lose if it were left. @type {Hold | null} */
let hold = null;

/**
 * @param {string} path with its query
 * @param {{ replace?: boolean, asked?: boolean }} [options] `asked` leaves without asking about unsaved edits
 * @returns {Promise<void>}
 */
export async function navigate(path, { replace = false, asked = false } = {}) {
  if (!asked && !(await mayLeave())) return;
  if (!replace) position += 1;
  history[replace ? "replaceState" : "pushState"]({ position }, "", path);
  return show({ focus: true });
}

/**
 * Asks the visitor before the page is left with unsaved edits.
 * @param {Hold & { signal: AbortSignal }} page
 */
export function holdPage({ unsaved, ask, signal }) {
  hold = { unsaved, ask };
  signal.addEventListener("abort", () => (hold = null));
}

/** Whether the page on screen may be left: nothing is unsaved, or the visitor discards it. */
export const mayLeave = async () => !hold?.unsaved() || hold.ask();

/** Rewrites the address of the current page, for filters that a reload or the back button should find again. */
export function rewriteUrl(/** @type {string} */ path) {
  history.replaceState(history.state, "", path);
  shown = address();
  routerEvents.dispatchEvent(new Event("change"));
}

/**
 * The address to log in or sign up, which leads back to this page, or to where this page itself leads.
 * @param {"login" | "register"} page
 * @param {string} [next]
 */
export function accountPath(page, next) {
  const query = new URLSearchParams(location.search);
  next ??= /^\/(login|register)$/.test(location.pathname) ? nextPath(query) : location.pathname + location.search;
  return next === "/" ? `/${page}` : `/${page}?${new URLSearchParams({ next })}`;
}

/**
 * Where to go after logging in: only ever a path of this site.
 * @param {URLSearchParams} query
 */
export function nextPath(query) {
  const wish = query.get("next") ?? "/";
  if (!URL.canParse(wish, location.origin)) return "/";
  const next = new URL(wish, location.origin);
  return next.origin === location.origin && routeOf(next.pathname) ? next.pathname + next.search : "/";
}

/** Draws the page of the current address again. */
export const reload = () => show({ focus: false });

let drawnFor = currentUser()?.id;

/** Draws a page for logged-in users again once nobody, or somebody else, is logged in. */
export function guard() {
  const id = currentUser()?.id;
  if (id !== drawnFor && routeOf(location.pathname)?.needs) void reload();
  drawnFor = id;
}

/** Takes over links and the back button, and shows the first page. */
export function start() {
  history.scrollRestoration = "manual";
  position = history.state?.position ?? 0;
  document.addEventListener("click", followLink);
  document.addEventListener("pointerover", prefetch);
  document.addEventListener("focusin", prefetch);
  addEventListener("popstate", () => void goBackOrForward());
  addEventListener("beforeunload", (event) => hold?.unsaved() && event.preventDefault());
  addEventListener("scroll", () => places.set(entry, { ...places.get(entry), scroll: scrollY }), { passive: true });
  return show({ focus: false });
}

/** Whether the browser is returning to the page on screen while the visitor is asked. */
let returning = false;

/** The browser's buttons. The address has changed already, so it is put back while the visitor is asked. */
async function goBackOrForward() {
  if (returning) return void (returning = false);
  // A link within the page makes its own history entry and does not leave the page.
  if (!history.state) history.replaceState({ position: ++position, entry }, "");
  const steps = (history.state.position ?? 0) - position;
  if (address() === shown) return void (position += steps);
  if (steps && hold?.unsaved()) {
    returning = true;
    history.go(-steps);
    if (await hold.ask()) history.go(steps);
    return;
  }
  position += steps;
  await show({ focus: true, restore: true });
}

/** @param {MouseEvent} event */
function followLink(event) {
  const link = event.target instanceof Element && event.target.closest("a");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.hash && link.pathname === location.pathname) return;
  event.preventDefault();
  // Not every browser focuses a clicked element.
  link.focus({ preventScroll: true });
  void navigate(link.pathname + link.search);
}

/** Finds the focused element again after the page is redrawn. */
function focusedPart() {
  const { activeElement: part } = document;
  if (!part || !find("#main").contains(part)) return undefined;
  const href = part.getAttribute("href");
  return part.id && !/^id-\d+$/.test(part.id)
    ? `#${CSS.escape(part.id)}`
    : href
      ? `a[href="${CSS.escape(href)}"]`
      : undefined;
}

/**
 * @param {{ focus: boolean, restore?: boolean }} how
 * @returns {Promise<void>}
 */
async function show({ focus, restore = false }) {
  const focused = focusedPart();
  if (focused) places.set(entry, { scroll: scrollY, focus: focused });
  leaving.abort(new DOMException("left the page", "AbortError"));
  leaving = new AbortController();
  const { signal } = leaving;
  const path = withoutSlash(location.pathname);
  if (path !== location.pathname) rewriteUrl(path + location.search + location.hash);
  if (!history.state?.entry) history.replaceState({ position, entry: `${Date.now()}-${Math.random()}` }, "");
  entry = history.state.entry;
  shown = address();
  const { scroll = 0, focus: part = "" } = (restore && places.get(entry)) || {};

  const route = routeOf(location.pathname);
  if (route?.needs && !currentUser()) return navigate(accountPath("login"), { replace: true });
  routerEvents.dispatchEvent(new Event("change"));
  const root = h("div.page");
  await draw(root, route, { signal, restored: restore }, () => scrollTo(0, scroll));
  if (signal.aborted) return;
  const before = part && root.querySelector(part);
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  else if (focus) focusHeading(root);
  if (restore) scrollTo(0, scroll);
}

/**
 * @param {HTMLElement} root
 * @param {Route} route
 * @param {{ signal: AbortSignal, restored: boolean }} how
 * @param {() => void} placed called once the page is in place
 */
async function draw(root, route, { signal, restored }, placed) {
  try {
    if (!route) throw new ApiError({ status: 404, code: "route_not_found" });
    if (route.needs === "organizer" && !isOrganizer()) throw new ApiError({ status: 403, code: "organizers_only" });
    if (route.needs === "admin" && !isAdmin()) throw new ApiError({ status: 404, code: "route_not_found" });
    const page = await route.load();
    if (signal.aborted) return;
    const drawn = page.render(root, { id: route.id, query: new URLSearchParams(location.search), signal, restored });
    find("#main").replaceChildren(root);
    placed();
    await drawn;
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ApiError && error.status === 401) {
      endSession();
      if (signal.aborted) return;
      void navigate(accountPath("login"), { replace: true });
      return;
    }
    root.replaceChildren(problemView(error, reload));
    find("#main").replaceChildren(root);
    document.title = `${root.querySelector("h1")?.textContent} · ${t("brand")}`;
  }
}

/** Screen readers and the keyboard go on at the new page's heading. @param {HTMLElement} root */
function focusHeading(root) {
  announce(document.title);
  if (document.activeElement && document.activeElement !== document.body) {
    if (root.contains(document.activeElement)) return;
  }
  const heading = root.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

/** Fetches a page's code when the visitor is about to go there. @param {Event} event */
function prefetch({ target }) {
  const link = target instanceof Element && target.closest("a");
  if (link && link.origin === location.origin)
    routeOf(link.pathname)
      ?.load()
      .catch(() => undefined);
}
