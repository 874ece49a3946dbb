// The table of routes, navigation without reload, and restoring of focus and scroll position.
import { ApiError } from "./api.js";
import { announce, find, h } from "./dom.js";
import { t } from "./i18n.js";
import { currentUser, endSession, isAdmin, isOrganizer } from "./session.js";
import { errorView } from "./views.js";

/**
 * Paths, the modules of their pages in `pages/`, and the required roles. The server responds to the same paths with
 * index.html: `frontend/server/src/routes/mod.rs`.
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
  ["/me/tickets/:id", "ticket", "user"],
  ["/me/notifications", "notifications", "user"],
  ["/organizer", "organizer", "organizer"],
  ["/organizer/events/new", "organizer-event", "organizer"],
  ["/organizer/events/:id", "organizer-event", "organizer"],
  ["/organizer/events/:id/bookings", "organizer-bookings", "organizer"],
  ["/admin", "admin", "admin"],
  ["/scan", "scan"],
];

/** @typedef {ReturnType<typeof routeOf>} Route */

/** The route of a path, if there is one. @param {string} path */
function routeOf(path) {
  path = withoutSlash(path);
  for (const [pattern, page, requires] of ROUTES) {
    const match = new RegExp(`^${pattern.replace(":id", "([\\w-]+)")}$`).exec(path);
    if (match) {
      return {
        id: match[1] ?? "",
        requires,
        load: () => /** @type {Promise<PageModule>} */ (import(`./pages/${page}.js`)),
      };
    }
  }
}

/** Every page has one URL, without a slash at the end. @param {string} path */
const withoutSlash = (path) => path.replace(/(?<=.)\/+$/, "");

/** Fires `change` after each navigation. */
export const routerEvents = new EventTarget();

/** Scroll position and focus on the page of each history entry. @type {Map<string, { scroll: number, focus?: string }>} */
const positions = new Map();
let pageAbort = new AbortController();
let entry = "";
/** The URL of the page on screen, without the fragment. */
let shownUrl = "";
const currentUrl = () => location.pathname + location.search;
/** The number of history entries before the page on screen. */
let position = 0;

/** @typedef {{ unsaved: () => boolean, ask: () => Promise<boolean> }} UnsavedGuard */

/** Set while the page on screen has an editor. @type {UnsavedGuard | null} */
let unsavedGuard = null;

/**
 * @param {string} path with its query
 * @param {{ replace?: boolean, force?: boolean }} [options] `force` leaves without asking about unsaved edits
 * @returns {Promise<void>}
 */
export async function navigate(path, { replace = false, force = false } = {}) {
  if (!force && !(await confirmLeave())) return;
  if (!replace) position += 1;
  history[replace ? "replaceState" : "pushState"]({ position }, "", path);
  return show({ focus: true });
}

/**
 * Asks the visitor for confirmation before leaving the page with unsaved edits.
 * @param {UnsavedGuard & { signal: AbortSignal }} page
 */
export function guardUnsavedEdits({ unsaved, ask, signal }) {
  unsavedGuard = { unsaved, ask };
  signal.addEventListener("abort", () => (unsavedGuard = null));
}

/** Whether the page on screen may be left: nothing is unsaved, or the visitor confirms. */
export const confirmLeave = async () => !unsavedGuard?.unsaved() || unsavedGuard.ask();

/** Replaces the URL of the current page, for filters that are to survive a reload and the back button. */
export function replaceUrl(/** @type {string} */ path) {
  history.replaceState(history.state, "", path);
  shownUrl = currentUrl();
  routerEvents.dispatchEvent(new Event("change"));
}

/**
 * The URL of the page to log in or sign up. It leads back to this page, or to the next page of this one.
 * @param {"login" | "register"} page
 * @param {string} [next]
 */
export function accountPath(page, next) {
  const query = new URLSearchParams(location.search);
  next ??= /^\/(login|register)$/.test(location.pathname) ? nextPath(query) : location.pathname + location.search;
  return next === "/" ? `/${page}` : `/${page}?${new URLSearchParams({ next })}`;
}

/**
 * The path to go to after logging in, which is always one of this site.
 * @param {URLSearchParams} query
 */
export function nextPath(query) {
  const requested = query.get("next") ?? "/";
  if (!URL.canParse(requested, location.origin)) return "/";
  const next = new URL(requested, location.origin);
  return next.origin === location.origin && routeOf(next.pathname) ? next.pathname + next.search : "/";
}

/** Draws the current page again. */
export const reload = () => show({ focus: false });

let drawnForUser = currentUser()?.id;

/** Draws a page for logged-in users again when the user changed. */
export function redrawForUser() {
  const id = currentUser()?.id;
  if (id !== drawnForUser && routeOf(location.pathname)?.requires) void reload();
  drawnForUser = id;
}

/** Handles links and the back button, and shows the first page. */
export function start() {
  history.scrollRestoration = "manual";
  position = history.state?.position ?? 0;
  document.addEventListener("click", onLinkClick);
  document.addEventListener("pointerover", prefetch);
  document.addEventListener("focusin", prefetch);
  addEventListener("popstate", () => void onPopState());
  addEventListener("beforeunload", (event) => unsavedGuard?.unsaved() && event.preventDefault());
  addEventListener("scroll", () => positions.set(entry, { ...positions.get(entry), scroll: scrollY }), {
    passive: true,
  });
  return show({ focus: false });
}

/** Whether the browser is returning to the page on screen, where the visitor is asked for confirmation. */
let returning = false;

/** Handles the browser's buttons. The URL has changed already, so it is reset while the visitor is asked. */
async function onPopState() {
  if (returning) return void (returning = false);
  // A link within the page creates a history entry without leaving the page.
  if (!history.state) history.replaceState({ position: ++position, entry }, "");
  const steps = (history.state.position ?? 0) - position;
  if (currentUrl() === shownUrl) return void (position += steps);
  if (steps && unsavedGuard?.unsaved()) {
    returning = true;
    history.go(-steps);
    if (await unsavedGuard.ask()) history.go(steps);
    return;
  }
  position += steps;
  await show({ focus: true, restore: true });
}

/** @param {MouseEvent} event */
function onLinkClick(event) {
  const link = event.target instanceof Element && event.target.closest("a");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.hash && link.pathname === location.pathname) return;
  event.preventDefault();
  // Not every browser focuses a clicked element.
  link.focus({ preventScroll: true });
  void navigate(link.pathname + link.search);
}

/** A selector that finds the focused element after the page is redrawn. */
function focusSelector() {
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
 * @param {{ focus: boolean, restore?: boolean }} options
 * @returns {Promise<void>}
 */
async function show({ focus, restore = false }) {
  const focused = focusSelector();
  if (focused) positions.set(entry, { scroll: scrollY, focus: focused });
  pageAbort.abort(new DOMException("left the page", "AbortError"));
  pageAbort = new AbortController();
  const { signal } = pageAbort;
  const path = withoutSlash(location.pathname);
  if (path !== location.pathname) replaceUrl(path + location.search + location.hash);
  if (!history.state?.entry) history.replaceState({ position, entry: `${Date.now()}-${Math.random()}` }, "");
  entry = history.state.entry;
  shownUrl = currentUrl();
  const { scroll = 0, focus: part = "" } = (restore && positions.get(entry)) || {};

  const route = routeOf(location.pathname);
  if (route?.requires && !currentUser()) return navigate(accountPath("login"), { replace: true });
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
 * @param {{ signal: AbortSignal, restored: boolean }} options
 * @param {() => void} onPlaced called once the page is in the document
 */
async function draw(root, route, { signal, restored }, onPlaced) {
  try {
    if (!route) throw new ApiError({ status: 404, code: "route_not_found" });
    if (route.requires === "organizer" && !isOrganizer()) throw new ApiError({ status: 403, code: "organizers_only" });
    if (route.requires === "admin" && !isAdmin()) throw new ApiError({ status: 404, code: "route_not_found" });
    const page = await route.load();
    if (signal.aborted) return;
    const drawn = page.render(root, { id: route.id, query: new URLSearchParams(location.search), signal, restored });
    find("#main").replaceChildren(root);
    onPlaced();
    await drawn;
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ApiError && error.status === 401) {
      endSession();
      if (signal.aborted) return;
      void navigate(accountPath("login"), { replace: true });
      return;
    }
    root.replaceChildren(errorView(error, reload));
    find("#main").replaceChildren(root);
    document.title = `${root.querySelector("h1")?.textContent} · ${t("brand")}`;
  }
}

/** Moves the focus of screen readers and the keyboard to the heading of the new page. @param {HTMLElement} root */
function focusHeading(root) {
  announce(document.title);
  if (document.activeElement && document.activeElement !== document.body) {
    if (root.contains(document.activeElement)) return;
  }
  const heading = root.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

/** Loads the code of a page when the visitor is about to open it. @param {Event} event */
function prefetch({ target }) {
  const link = target instanceof Element && target.closest("a");
  if (link && link.origin === location.origin)
    routeOf(link.pathname)
      ?.load()
      .catch(() => undefined);
}
