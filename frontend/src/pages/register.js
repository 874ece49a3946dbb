// A new account, logged in at once.
import { h, replace, toast } from "../dom.js";
import { field, form } from "../forms.js";
import { t } from "../i18n.js";
import { navigate, nextPath } from "../router.js";
import { currentUser, isOrganizer, register } from "../session.js";
import { accountPage, setTitle } from "../views.js";

/** @type {PageModule["render"]} */
export function render(root, { query }) {
  setTitle(t("register.title"));
  const next = nextPath(query);
  if (currentUser()) return void navigate(next, { replace: true });
  const name = field({
    name: "name",
    label: t("account.name"),
    required: true,
    autocomplete: "name",
    maxlength: 100,
  });
  const email = field({
    name: "email",
    label: t("account.email"),
    type: "email",
    required: true,
    autocomplete: "username",
    maxlength: 254,
  });
  const password = field({
    name: "password",
    label: t("account.password"),
    hint: t("account.password_hint"),
    type: "password",
    required: true,
    minlength: 8,
    maxlength: 128,
    autocomplete: "new-password",
  });
  const organizer = h("input", { type: "checkbox", name: "organizer" });
  const { element } = form([name, email, password], {
    content: [name.root, email.root, password.root, h("label.check", organizer, t("register.organizer"))],
    submit: t("register.title"),
    work: async () => {
      const role = organizer.checked ? "organizer" : "attendee";
      await register({
        name: name.control.value.trim(),
        email: email.control.value.trim(),
        password: password.control.value,
        role,
      });
      if (organizer.checked && !isOrganizer()) toast(t("register.approval"));
      else toast(t("register.welcome", { name: currentUser()?.name ?? "" }));
      await navigate(organizer.checked && isOrganizer() && next === "/" ? "/organizer" : next, { replace: true });
    },
  });
  const other = h(
    "p",
    t("register.known"),
    " ",
    h("a", { href: `/login?${new URLSearchParams({ next })}` }, t("login.title")),
  );
  replace(root, accountPage(t("register.heading"), t("register.lead"), element, other));
}
