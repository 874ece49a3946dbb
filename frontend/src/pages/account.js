// Log in or sign up, and go on where the visitor was.
import { cover } from "../cover.js";
import { h, replace, toast } from "../dom.js";
import { field, form } from "../forms.js";
import { t } from "../i18n.js";
import { navigate, nextPath } from "../router.js";
import { currentUser, isOrganizer, login, register } from "../session.js";
import { setTitle } from "../views.js";

/** @type {PageModule["render"]} */
export function render(root, { query }) {
  const page = location.pathname === "/login" ? "login" : "register";
  setTitle(t(`${page}.title`));
  const next = nextPath(query);
  if (currentUser()) return void navigate(next, { replace: true });
  const lead = page === "login" && next !== "/" ? "login.lead_next" : /** @type {const} */ (`${page}.lead`);
  const other = page === "login" ? "register" : "login";
  replace(
    root,
    h(
      "div.account-page",
      h("div.account-art", cover({ title: page })),
      h(
        "div.account-form",
        h("h1", t(`${page}.heading`)),
        h("p.lead", t(lead)),
        page === "login" ? loginForm(next) : registerForm(next),
        h(
          "p",
          t(`${page}.other`),
          " ",
          h("a", { href: `/${other}?${new URLSearchParams({ next })}` }, t(`${other}.title`)),
        ),
      ),
    ),
  );
}

const emailField = () =>
  field({
    name: "email",
    label: t("account.email"),
    type: "email",
    required: true,
    autocomplete: "username",
    longest: 254,
  });

/** @param {Record<string, unknown>} rest */
const passwordField = (rest) =>
  field({ name: "password", label: t("account.password"), type: "password", required: true, ...rest });

/** @param {string} next */
function loginForm(next) {
  const email = emailField();
  const password = passwordField({ autocomplete: "current-password", longest: 1000 });
  return form([email, password], {
    content: [email.root, password.root],
    submit: t("login.title"),
    work: async () => {
      await login(email.control.value.trim(), password.control.value);
      await navigate(next, { replace: true });
    },
  }).element;
}

/** @param {string} next */
function registerForm(next) {
  const name = field({
    name: "name",
    label: t("account.name"),
    required: true,
    autocomplete: "name",
    longest: 100,
  });
  const email = emailField();
  const password = passwordField({
    hint: t("account.password_hint", { n: 8 }),
    autocomplete: "new-password",
    shortest: 8,
    longest: 128,
  });
  const organizer = h("input", { type: "checkbox", name: "organizer" });
  return form([name, email, password], {
    content: [name.root, email.root, password.root, h("label.check", organizer, t("register.organizer"))],
    submit: t("register.title"),
    work: async () => {
      await register({
        name: name.control.value.trim(),
        email: email.control.value.trim(),
        password: password.control.value,
        role: organizer.checked ? "organizer" : "attendee",
      });
      if (organizer.checked && !isOrganizer()) toast(t("register.approval"));
      else toast(t("register.welcome", { name: currentUser()?.name ?? "" }));
      await navigate(organizer.checked && isOrganizer() && next === "/" ? "/organizer" : next, { replace: true });
    },
  }).element;
}
