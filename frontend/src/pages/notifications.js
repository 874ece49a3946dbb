// Notifications, newest first. New ones appear at the top.
import { get, post } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { ago, date, explain, t } from "../i18n.js";
import { hrefOf, liveEvents, appearanceOf, markRead, onNotification, setUnread, unreadCount } from "../live.js";
import { currentUser } from "../session.js";
import { alertBox, emptyView, moreButton, setTitle, skeletons, whileBusy } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { signal }) {
  setTitle(t("nav.notifications"));
  const user = /** @type {Api.User} */ (currentUser());
  const list = h("ul.list", skeletons("row-skeleton", 4));
  const { box, showMessage } = alertBox();
  const readAll = h("button.button.plain", { hidden: true }, icon("check"), t("notifications.read_all"));
  const foot = h("div");
  replace(root, h("header.page-head", h("h1", t("nav.notifications")), readAll), box, list, foot);

  readAll.addEventListener("click", () =>
    whileBusy(readAll, async () => {
      await post(`/notifications/${user.id}/read-all`);
      list.querySelectorAll(".unread").forEach((item) => item.classList.remove("unread"));
      list.querySelectorAll(".unread-word").forEach((word) => word.remove());
      setUnread(0);
    }).catch((error) => showMessage(explain(error))),
  );
  liveEvents.addEventListener("count", () => (readAll.hidden = unreadCount() === 0), { signal });

  /** @param {string | null} cursor */
  const load = async (cursor) => {
    /** @type {Api.Notifications} */
    const page = await get(`/notifications/${user.id}`, { query: { limit: 30, cursor }, signal });
    if (cursor === null) list.replaceChildren();
    list.append(...page.items.map(item));
    setUnread(page.unread_count);
    replace(foot, page.next_cursor && moreButton(t("notifications.more"), () => load(page.next_cursor)));
    if (!list.children.length) replace(foot, emptyView(t("notifications.empty"), t("notifications.empty_text")));
  };
  await load(null);
  onNotification((notification) => {
    if (!list.children.length) foot.replaceChildren();
    list.prepend(item(notification));
  }, signal);
}

/** @param {Api.Notification} notification */
function item(notification) {
  const unread = !notification.read_at;
  const link = h("a.stretched", { href: hrefOf(notification) }, notification.title);
  link.addEventListener("click", () => void markRead(notification).catch(() => undefined));
  return h(
    unread ? "li.card.row-card.unread" : "li.card.row-card",
    h(`span.symbol.${notification.type.replace(".", "-")}`, icon(appearanceOf(notification.type)[0])),
    h(
      "div",
      h("h2", link, unread && h("span.unseen.unread-word", ` (${t("notifications.unread")})`)),
      h("p", notification.body),
    ),
    h(
      "time.meta.row-end",
      {
        datetime: notification.created_at,
        title: date(notification.created_at, { dateStyle: "medium", timeStyle: "short" }),
      },
      ago(notification.created_at),
    ),
  );
}
