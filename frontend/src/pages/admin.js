// Admins approve or decline requests to become an organizer.
import { getAllPages, request } from "../api.js";
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
  const users = await getAllPages("/users", { status: "pending" }, signal);
  const drawEmpty = () => {
    if (!list.children.length) replace(body, emptyView(t("admin.none"), t("admin.none_text")));
  };
  replace(
    list,
    users.map((user) => row(user, drawEmpty)),
  );
  drawEmpty();
}

/** @param {Api.User} user @param {() => void} onDone */
function row(user, onDone) {
  const { box, showMessage } = alertBox();
  /** @param {"organizer" | "attendee"} role @param {string} selector */
  const choice = (role, selector) => {
    const button = h(/** @type {"button"} */ (selector), t(`admin.${role}`));
    button.addEventListener("click", async () => {
      try {
        await whileBusy(button, () => request("PATCH", `/users/${user.id}`, { body: { role } }));
      } catch (error) {
        return showMessage(explain(error));
      }
      toast(t(`admin.done_${role}`, { name: user.name }), { tone: role === "organizer" ? "good" : "info" });
      item.remove();
      onDone();
    });
    return button;
  };
  const item = h(
    "li.card.row-card",
    h("span.avatar", { "aria-hidden": "true" }, [...user.name][0]?.toUpperCase()),
    h("div", h("h2", user.name), h("p.meta", `${user.email} · ${ago(user.created_at)}`), box),
    h("div.actions.row-end", choice("organizer", "button.button"), choice("attendee", "button.button.plain")),
  );
  return item;
}
