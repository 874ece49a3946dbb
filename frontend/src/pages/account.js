// Log in or sign up, and go on where the visitor was.
import { ApiError } from "../api.js";
import { cover } from "../cover.js";
import { h, replace } from "../dom.js";
import { field, form, nameField } from "../forms.js";
import { explain, t } from "../i18n.js";
import { accountPath, navigate, nextPath } from "../router.js";
import { currentUser, isOrganizer, login, register, sessionEvents } from "../session.js";
import { toast } from "../toast.js";
import { setTitle } from "../views.js";

/** The address that was typed last, for users who switch to the other form. */
let typed = "";

/** @type {PageModule["render"]} */
export function render(root, { query, signal }) {
  const page = location.pathname === "/login" ? "login" : "register";
  setTitle(t(`${page}.title`));
  const next = nextPath(query);
  const goOn = () => void (currentUser() && navigate(next, { replace: true }));
  if (currentUser()) return goOn();
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
        h("p", t(`${page}.other`), " ", h("a", { href: accountPath(other, next) }, t(`${other}.title`))),
      ),
    ),
  );
  // A login in another tab is a login here too.
  sessionEvents.addEventListener("change", () => busy || goOn(), { signal });
}

/** While a form of this page is working, it decides itself where to go next. */
let busy = false;

/** @param {() => Promise<void>} work */
async function alone(work) {
  busy = true;
  await work().finally(() => (busy = false));
}

const emailField = () => {
  const email = field({
    name: "email",
    label: t("account.email"),
    type: "email",
    required: true,
    autocomplete: "username",
    longest: 254,
    value: typed,
  });
  email.control.addEventListener("input", () => (typed = email.control.value));
  return email;
};

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
    work: () =>
      alone(async () => {
        await login(email.control.value.trim(), password.control.value);
        typed = "";
        await navigate(next, { replace: true });
      }),
  }).element;
}

/** @param {string} next */
function registerForm(next) {
  const name = nameField();
  const email = emailField();
  const password = passwordField({
    hint: t("account.password_hint", { n: 8 }),
    autocomplete: "new-password",
    shortest: 8,
    longest: 128,
  });
  const organizer = h("input", { type: "checkbox", name: "organizer" });
  const known = h("p", { hidden: true }, h("a", { href: accountPath("login", next) }, t("login.instead")));
  email.root.append(known);
  return form([name, email, password], {
    content: [name.root, email.root, password.root, h("label.check", organizer, t("register.organizer"))],
    submit: t("register.title"),
    work: () =>
      alone(async () => {
        const account = {
          name: name.control.value.trim(),
          email: email.control.value.trim(),
          password: password.control.value,
          role: organizer.checked ? "organizer" : "attendee",
        };
        known.hidden = true;
        try {
          await register(account);
        } catch (error) {
          if (!(error instanceof ApiError) || error.code !== "email_taken") throw error;
          email.fail(explain(error));
          known.hidden = false;
          return;
        }
        typed = "";
        if (organizer.checked && !isOrganizer()) toast(t("register.approval"));
        else toast(t("register.welcome", { name: currentUser()?.name ?? "" }));
        await navigate(organizer.checked && isOrganizer() && next === "/" ? "/organizer" : next, { replace: true });
      }),
  }).element;
}
