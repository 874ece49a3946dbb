// The organizer's own events: what is sold, held and still there, and what it brings in.
import { get } from "../api.js";
import { cover } from "../cover.js";
import { h, icon, replace } from "../dom.js";
import { eventTime, money, number, t, tn } from "../i18n.js";
import { currentUser } from "../session.js";
import { availability, emptyView, moreButton, setTitle, skeletons } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { signal }) {
  setTitle(t("nav.organizer"));
  const create = h("a.button", { href: "/organizer/events/new" }, icon("plus"), t("organizer.create"));
  const figures = h("dl.figures", skeletons("figure-skeleton", 3));
  const list = h("ul.list", skeletons("row-skeleton", 4));
  const foot = h("div");
  replace(root, h("header.page-head", h("h1", t("organizer.title")), create), figures, list, foot);
  /** @type {Api.EventItem[]} */
  const events = [];

  /** @param {string | null} cursor */
  const load = async (cursor) => {
    /** @type {Api.Page<Api.EventItem>} */
    const page = await get("/api/events", { query: { organizer_id: currentUser()?.id, limit: 50, cursor }, signal });
    events.push(...page.items);
    if (cursor === null) list.replaceChildren();
    list.append(...page.items.map(row));
    replace(figures, totals(events));
    replace(foot, page.next_cursor && moreButton(t("organizer.more"), () => load(page.next_cursor)));
    if (events.length) return;
    figures.remove();
    replace(foot, emptyView(t("organizer.empty"), t("organizer.empty_text")));
  };
  await load(null);
}

/** Seats that are paid or booked for free. @param {Api.EventItem} event */
export const soldSeats = (event) => event.sold ?? event.capacity - event.available - (event.held ?? 0);

/** @param {Api.EventItem[]} events */
function totals(events) {
  /** @type {Map<string, number>} */
  const revenue = new Map();
  for (const event of events) {
    const amount = event.status === "cancelled" ? 0 : event.price * soldSeats(event);
    if (amount) revenue.set(event.currency, (revenue.get(event.currency) ?? 0) + amount);
  }
  const published = events.filter(({ status }) => status === "published");
  const sold = published.reduce((sum, event) => sum + soldSeats(event), 0);
  const amounts = [...revenue].map(([currency, amount]) => money(amount, currency)).join(" + ");
  return [
    figure(t("organizer.published"), number(published.length)),
    figure(t("organizer.sold"), number(sold)),
    figure(t("organizer.revenue"), amounts || "–"),
  ];
}

/** @param {string} name @param {string} value */
const figure = (name, value) => h("div.card.figure", h("dt", name), h("dd", value));

/** @param {Api.EventItem} event */
function row(event) {
  const { tone, text } = availability(event);
  const sold = soldSeats(event);
  return h(
    "li.card.row-card",
    h("span.thumb", cover(event)),
    h(
      "div",
      h("h2", h("a.stretched", { href: `/organizer/events/${event.id}` }, event.title)),
      h("p.meta", `${eventTime(event)} · ${event.venue}`),
    ),
    h(
      "div.row-end",
      h(`span.pill.${tone}`, text),
      h(
        "span.meta",
        t("organizer.sold_of", { sold, capacity: event.capacity }),
        event.held ? ` · ${tn("organizer.held", event.held)}` : undefined,
      ),
      h("progress", { max: event.capacity, value: sold, "aria-hidden": "true" }),
    ),
  );
}
