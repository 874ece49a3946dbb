// Admins say who may organize events.
import { everyPage, request } from "../api.js";
import { h, replace } from "../dom.js";
import { ago, explain, t } from "../i18n.js";
import { toast } from "../toast.js";
import { alertBox, emptyView, setTitle, skeletons, whileBusy } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { signal }) {
  setTitle(t("admin.title"));
  const list = h("ul.list", skeletons("row-skeleton", 3));
  const body = h("div", list);
  replace(root, h("h1", t("admin.title")), body);
  /** @type {Api.User[]} */
  const people = await everyPage("/users", { status: "pending" }, signal);
  const drawEmpty = () => {
    if (!list.children.length) replace(body, emptyView(t("admin.none"), t("admin.none_text")));
  };
  replace(
    list,
    people.map((person) => row(person, drawEmpty)),
  );
  drawEmpty();
}

/** @param {Api.User} person @param {() => void} settled */
function row(person, settled) {
  const { box, say } = alertBox();
  /** @param {"organizer" | "attendee"} role @param {string} selector */
  const choice = (role, selector) => {
    const button = h(/** @type {"button"} */ (selector), t(`admin.${role}`));
    button.addEventListener("click", async () => {
      try {
        await whileBusy(button, () => request("PATCH", `/users/${person.id}`, { body: { role } }));
      } catch (error) {
        return say(explain(error));
      }
      toast(t(`admin.done_${role}`, { name: person.name }), { tone: role === "organizer" ? "good" : "info" });
      item.remove();
      settled();
    });
    return button;
  };
  const item = h(
    "li.card.row-card",
    h("span.avatar", { "aria-hidden": "true" }, person.name.slice(0, 1).toUpperCase()),
    h("div", h("h2", person.name), h("p.meta", `${person.email} · ${ago(person.created_at)}`), box),
    h("div.actions.row-end", choice("organizer", "button.button"), choice("attendee", "button.button.plain")),
  );
  return item;
}
