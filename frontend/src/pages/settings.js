// The account settings: profile, password, request to become an organizer, sessions, deletion.
import { getAllPages, post, request } from "../api.js";
import { accountDeletion } from "../deletion.js";
import { h, replace } from "../dom.js";
import { field, form, nameField } from "../forms.js";
import { ago, explain, language, languages, t } from "../i18n.js";
import { changeProfile, currentUser, isOrganizer, loadSession, sessionEvents, setLanguage } from "../session.js";
import { toast } from "../toast.js";
import { alertBox, setTitle, skeletons, whileBusy } from "../views.js";

/** @typedef {import("../forms.js").Field} Field */

/** @type {PageModule["render"]} */
export async function render(root, { signal }) {
  setTitle(t("account.title"));
  const sessions = h("ul.list", skeletons("row-skeleton", 2));
  const requestBox = h("div");
  replace(
    root,
    h("h1", t("account.title")),
    h(
      "div.settings",
      group(t("account.profile"), profileForm()),
      group(t("account.change_password"), passwordForm()),
      group(t("account.organizer"), requestBox),
      group(t("account.sessions"), sessions),
      group(t("account.delete"), accountDeletion(signal)),
    ),
  );
  const drawRequest = () => replace(requestBox, organizerRequest());
  drawRequest();
  sessionEvents.addEventListener("change", drawRequest, { signal });
  await loadSession();
  await showSessions(sessions, signal);
}

/** @param {string} name @param {HTMLElement} content */
const group = (name, content) => h("section.group", h("h2", name), content);

function profileForm() {
  const user = /** @type {Api.User} */ (currentUser());
  const name = nameField({ value: user.name });
  const languageField = field({
    name: "language",
    label: t("footer.language"),
    hint: t("account.language_hint"),
    tag: "select",
    required: true,
    options: Object.entries(languages),
    value: language,
  });
  return form([name, languageField], {
    content: [h("p", h("span.hint", t("account.email")), h("br"), user.email), name.root, languageField.root],
    submit: t("account.save"),
    onSubmit: async () => {
      await changeProfile({ name: name.control.value.trim() });
      toast(t("account.saved"));
      if (languageField.control.value !== language) await setLanguage(languageField.control.value);
    },
  }).element;
}

function passwordForm() {
  /** @param {string} name @param {string} label @param {Record<string, unknown>} rest */
  const password = (name, label, rest) => field({ name, label, type: "password", required: true, ...rest });
  const old = password("current_password", t("account.current_password"), {
    autocomplete: "current-password",
    maxLength: 1000,
  });
  const next = password("new_password", t("account.new_password"), {
    hint: t("account.password_hint", { n: 8 }),
    autocomplete: "new-password",
    minLength: 8,
    maxLength: 128,
  });
  return form([old, next], {
    // For password managers.
    content: [
      h("input", { type: "email", autocomplete: "username", value: currentUser()?.email, hidden: true }),
      old.root,
      next.root,
    ],
    submit: t("account.change_password"),
    onSubmit: async () => {
      await post("/users/me/password", { current_password: old.control.value, new_password: next.control.value });
      for (const { control } of [old, next]) control.value = "";
      toast(t("account.password_changed"));
    },
  }).element;
}

/** The state of the request to become an organizer. */
function organizerRequest() {
  if (isOrganizer()) return h("p", t("account.is_organizer"));
  if (currentUser()?.requested_role === "organizer") return h("p", t("account.asked"));
  const { box, showMessage } = alertBox();
  const button = h("button.button.plain", t("account.ask"));
  button.addEventListener("click", () =>
    whileBusy(button, async () => {
      await request("PUT", "/users/me/organizer-request");
      await loadSession();
    }).catch((error) => showMessage(explain(error))),
  );
  return h("div", h("p", t("account.organizer_text")), h("p.actions", button), box);
}

/** @param {HTMLElement} list @param {AbortSignal} signal */
async function showSessions(list, signal) {
  /** @type {Api.Session[]} */
  const sessions = await getAllPages("/users/me/sessions", {}, signal);
  sessions.sort((a, b) => Number(b.current) - Number(a.current) || b.last_used_at.localeCompare(a.last_used_at));
  replace(list, sessions.map(sessionRow));
}

/** @param {Api.Session} session */
function sessionRow({ id, current, browser, operating_system: system, created_at: since, last_used_at: used }) {
  const { box, showMessage } = alertBox();
  const end = h("button.button.plain", t("account.end_session"));
  const name = [browser, system].filter(Boolean).join(", ") || t("account.session");
  end.addEventListener("click", () =>
    whileBusy(end, async () => {
      await request("DELETE", `/users/me/sessions/${id}`);
      toast(t("account.session_ended"), { tone: "info" });
      item.remove();
    }).catch((error) => showMessage(explain(error))),
  );
  const item = h(
    "li.session",
    h("div", h("h3", name), h("p.meta", t("account.session_since", { since: ago(since), active: ago(used) })), box),
    current ? h("p.pill.good", t("account.this_session")) : end,
  );
  return item;
}
