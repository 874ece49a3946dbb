// Log in, and go on where the visitor was.
import { h, replace } from "../dom.js";
import { field, form } from "../forms.js";
import { t } from "../i18n.js";
import { navigate, nextPath } from "../router.js";
import { currentUser, login } from "../session.js";
import { accountPage, setTitle } from "../views.js";

/** @type {PageModule["render"]} */
export function render(root, { query }) {
  setTitle(t("login.title"));
  const next = nextPath(query);
  if (currentUser()) return void navigate(next, { replace: true });
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
    type: "password",
    required: true,
    autocomplete: "current-password",
    maxlength: 1000,
  });
  const { element } = form([email, password], {
    content: [email.root, password.root],
    submit: t("login.title"),
    work: async () => {
      await login(email.control.value.trim(), password.control.value);
      await navigate(next, { replace: true });
    },
  });
  const other = h(
    "p",
    t("login.new"),
    " ",
    h("a", { href: `/register?${new URLSearchParams({ next })}` }, t("register.title")),
  );
  const lead = query.has("next") && next !== "/" ? t("login.lead_next") : t("login.lead");
  replace(root, accountPage(t("login.heading"), lead, element, other));
}
