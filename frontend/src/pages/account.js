// Logging in and signing up; both lead back to where the visitor was.
import { ApiError } from "../api.js";
import { cover } from "../cover.js";
import { h, replace } from "../dom.js";
import { field, form, nameField } from "../forms.js";
import { explain, t } from "../i18n.js";
import { accountPath, navigate, nextPath } from "../router.js";
import { currentUser, isOrganizer, login, register, sessionEvents } from "../session.js";
import { toast } from "../toast.js";
import { setTitle } from "../views.js";

/** The entered email address, for users who switch to the other form. */
let lastEmail = "";

/** @type {PageModule["render"]} */
export function render(root, { query, signal }) {
  const page = location.pathname === "/login" ? "login" : "register";
  setTitle(t(`${page}.title`));
  const next = nextPath(query);
  const continueToNext = () => void (currentUser() && navigate(next, { replace: true }));
  if (currentUser()) return continueToNext();
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
  // The user may log in in another tab.
  sessionEvents.addEventListener("change", () => submitting || continueToNext(), { signal });
}

/** Whether a form of this page is being submitted, which then navigates itself. */
let submitting = false;

/** @param {() => Promise<void>} task */
async function whileSubmitting(task) {
  submitting = true;
  await task().finally(() => (submitting = false));
}

const emailField = () => {
  const email = field({
    name: "email",
    label: t("account.email"),
    type: "email",
    required: true,
    autocomplete: "username",
    maxLength: 254,
    value: lastEmail,
  });
  email.control.addEventListener("input", () => (lastEmail = email.control.value));
  return email;
};

/** @param {Record<string, unknown>} rest */
const passwordField = (rest) =>
  field({ name: "password", label: t("account.password"), type: "password", required: true, ...rest });

/** @param {string} next */
function loginForm(next) {
  const email = emailField();
  const password = passwordField({ autocomplete: "current-password", maxLength: 1000 });
  return form([email, password], {
    content: [email.root, password.root],
    submit: t("login.title"),
    onSubmit: () =>
      whileSubmitting(async () => {
        await login(email.control.value.trim(), password.control.value);
        lastEmail = "";
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
    minLength: 8,
    maxLength: 128,
  });
  const organizer = h("input", { type: "checkbox", name: "organizer" });
  const loginHint = h("p", { hidden: true }, h("a", { href: accountPath("login", next) }, t("login.instead")));
  email.root.append(loginHint);
  return form([name, email, password], {
    content: [name.root, email.root, password.root, h("label.check", organizer, t("register.organizer"))],
    submit: t("register.title"),
    onSubmit: () =>
      whileSubmitting(async () => {
        const account = {
          name: name.control.value.trim(),
          email: email.control.value.trim(),
          password: password.control.value,
          role: organizer.checked ? "organizer" : "attendee",
        };
        loginHint.hidden = true;
        try {
          await register(account);
        } catch (error) {
          if (!(error instanceof ApiError) || error.code !== "email_taken") throw error;
          email.setError(explain(error));
          loginHint.hidden = false;
          return;
        }
        lastEmail = "";
        if (organizer.checked && !isOrganizer()) toast(t("register.approval"));
        else toast(t("register.welcome", { name: currentUser()?.name ?? "" }));
        await navigate(organizer.checked && isOrganizer() && next === "/" ? "/organizer" : next, { replace: true });
      }),
  }).element;
}
