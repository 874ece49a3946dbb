// The frame around every page: header, navigation, bell, account menu, footer.
import { find, h, icon, replace } from "./dom.js";
import { language, languages, t } from "./i18n.js";
import { restartStream, liveEvents, unreadCount } from "./live.js";
import { accountPath, redrawForUser, confirmLeave, navigate, routerEvents, start } from "./router.js";
import { currentUser, isAdmin, isOrganizer, loadSession, logout, sessionEvents, setLanguage } from "./session.js";

/**
 * @param {string} href
 * @param {string} symbol
 * @param {string} text
 */
function navLink(href, symbol, text) {
  const [path] = href.split("?");
  const isCurrent = path === "/" ? /^\/(events\/|$)/.test(location.pathname) : location.pathname.startsWith(path);
  return h(
    "a",
    { href, "aria-current": isCurrent && (location.pathname === path ? "page" : "true") },
    icon(symbol),
    h("span", text),
  );
}

function drawNavigation() {
  replace(
    find("#nav"),
    navLink("/", "compass", t("nav.discover")),
    currentUser() && navLink("/me/bookings", "ticket", t("nav.bookings")),
    isOrganizer() && navLink("/organizer", "stage", t("nav.organizer")),
    !currentUser() && navLink(accountPath("login"), "user", t("nav.login")),
  );
}

const closeMenu = () => find("#account-menu").hidePopover();

/** The user in the account menu, as JSON. */
let drawnAccount = "";

function drawAccount() {
  const user = currentUser();
  if (!user) {
    drawnAccount = "";
    closeMenu();
    replace(
      find("#account"),
      h("a.button.plain.wide-only", { href: accountPath("login") }, t("nav.login")),
      h("a.button", { href: accountPath("register") }, t("nav.register")),
    );
    return;
  }
  // Redrawing an open menu would remove the entry under the pointer.
  const account = JSON.stringify([user.name, user.email, user.role]);
  if (account === drawnAccount) return;
  drawnAccount = account;
  const initials = user.name
    .split(/\s+/)
    .map((word) => [...word][0] ?? "")
    .slice(0, 2)
    .join("")
    .toUpperCase();
  replace(
    find("#account"),
    bell(),
    h(
      "button.avatar",
      { popovertarget: "account-menu" },
      h("span", { "aria-hidden": "true" }, initials),
      h("span.unseen", t("nav.account", { name: user.name })),
    ),
  );
  replace(
    find("#account-menu"),
    h("p", h("strong", user.name), h("span.hint", user.email)),
    h("a", { href: "/me/notifications" }, icon("bell"), t("nav.notifications")),
    h("a", { href: "/me/account" }, icon("user"), t("nav.settings")),
    isAdmin() && h("a", { href: "/admin" }, icon("check"), t("admin.title")),
    h("button", { onclick: logOut }, icon("close"), t("nav.logout")),
  );
}

function bell() {
  const count = unreadCount();
  const label = count ? t("nav.unread", { n: count }) : t("nav.notifications");
  const badge = count > 0 && h("b.badge", count > 99 ? "99+" : count);
  return h("a.bell", { id: "bell", href: "/me/notifications", "aria-label": label }, icon("bell"), badge);
}

async function logOut() {
  if (!(await confirmLeave())) return;
  await logout();
  await navigate("/");
}

function drawFooter() {
  const options = Object.entries(languages).map(([code, name]) =>
    h("option", { value: code, selected: code === language }, name),
  );
  const select = h("select", { id: "language" }, options);
  select.addEventListener("change", () => setLanguage(select.value));
  replace(find("#footer"), h("p", t("footer.text")), h("label", { for: "language" }, t("footer.language")), select);
}

function drawFrame() {
  find("#skip").textContent = t("nav.skip");
  find("#nav").setAttribute("aria-label", t("nav.label"));
  drawNavigation();
  drawAccount();
  drawFooter();
}

sessionEvents.addEventListener("change", () => {
  drawFrame();
  restartStream();
  redrawForUser();
});
routerEvents.addEventListener("change", () => {
  drawNavigation();
  drawAccount();
});
liveEvents.addEventListener("count", () => document.querySelector("#bell")?.replaceWith(bell()));

document.addEventListener("visibilitychange", () => document.hidden || void loadSession());

find("#account-menu").addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("a, button")) closeMenu();
});
addEventListener("popstate", closeMenu);

drawFrame();
void start();
void loadSession().then(restartStream);
