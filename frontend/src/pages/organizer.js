// The organizer's own events: what is sold, held and still there, and what it brings in.
import { get } from "../api.js";
import { cover } from "../cover.js";
import { h, icon, replace } from "../dom.js";
import { eventTime, money, number, t, tn } from "../i18n.js";
import { currentUser } from "../session.js";
import { availability, emptyView, setTitle, skeletons } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { signal }) {
  setTitle(t("nav.organizer"));
  const create = h("a.button", { href: "/organizer/events/new" }, icon("plus"), t("organizer.create"));
  const body = h("div", h("div.figures", skeletons("figure-skeleton", 3)), h("div.list", skeletons("row-skeleton", 4)));
  replace(root, h("header.page-head", h("h1", t("organizer.title")), create), body);
  const events = await ownEvents(signal);
  if (!events.length) return replace(body, emptyView(t("organizer.empty"), t("organizer.empty_text")));
  const now = Date.now();
  const past = events.filter(({ ends_at: end }) => Date.parse(end) < now).reverse();
  replace(
    body,
    h("dl.figures", totals(events)),
    h("ul.list", events.filter((event) => !past.includes(event)).map(row)),
    past.length > 0 && h("details.past", h("summary", tn("organizer.past", past.length)), h("ul.list", past.map(row))),
  );
}

/** All of them, for the figures count them all. @param {AbortSignal} signal */
async function ownEvents(signal) {
  /** @type {Api.EventItem[]} */
  const events = [];
  let cursor = null;
  do {
    /** @type {Api.Page<Api.EventItem>} */
    const page = await get("/api/events", { query: { organizer_id: currentUser()?.id, limit: 100, cursor }, signal });
    events.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return events;
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
