// The organizer's events, with sold and held seats and revenue.
import { getAllPages } from "../api.js";
import { isolated } from "../bidi.js";
import { cover } from "../cover.js";
import { h, icon, replace } from "../dom.js";
import { autoRefresh } from "../fresh.js";
import { eventTime, money, number, t, tn } from "../i18n.js";
import { currentUser } from "../session.js";
import { availability, emptyView, loadError, setTitle, skeletons } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { signal }) {
  setTitle(t("nav.organizer"));
  const create = h("a.button", { href: "/organizer/events/new" }, icon("plus"), t("organizer.create"));
  const body = h("div", h("div.figures", skeletons("figure-skeleton", 3)), h("div.list", skeletons("row-skeleton", 4)));
  replace(root, h("header.page-head", h("h1", t("organizer.title")), create), body);
  let drawn = "";
  const load = async () => {
    /** @type {HTMLElement[]} */
    const failures = [];
    /** @type {[Api.EventItem[], Api.EventSales[]]} */
    const data = await Promise.all([
      getAllPages("/api/events", { organizer_id: currentUser()?.id }, signal),
      getAllPages("/bookings/sales", {}, signal).catch((error) => {
        failures.push(loadError(error, load));
        return [];
      }),
    ]);
    // After the first draw, failures are ignored.
    if (signal.aborted || (failures.length && drawn) || JSON.stringify(data) === drawn) return;
    drawn = failures.length ? "" : JSON.stringify(data);
    show(body, failures, ...data);
  };
  await load();
  autoRefresh(load, signal);
}

/**
 * @param {HTMLElement} body
 * @param {HTMLElement[]} failures
 * @param {Api.EventItem[]} events
 * @param {Api.EventSales[]} sales
 */
function show(body, failures, events, sales) {
  const open = body.querySelector("details")?.open;
  const focused = body.contains(document.activeElement) && document.activeElement?.getAttribute("href");
  if (!events.length) return replace(body, emptyView(t("organizer.empty"), t("organizer.empty_text")));
  const now = Date.now();
  const past = events.filter(({ ends_at: end }) => Date.parse(end) < now).reverse();
  /** @param {Api.EventItem} event */
  const draw = (event) =>
    row(
      event,
      sales.filter(({ event_id: id }) => id === event.id),
    );
  replace(
    body,
    failures,
    h("dl.figures", totals(events, sales)),
    h("ul.list", events.filter((event) => !past.includes(event)).map(draw)),
    past.length > 0 &&
      h("details.past", { open }, h("summary", tn("organizer.past", past.length)), h("ul.list", past.map(draw))),
  );
  const before = focused && body.querySelector(`a[href="${CSS.escape(focused)}"]`);
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
}

/** Seats of confirmed bookings. @param {Api.EventItem} event */
export const soldSeats = (event) => event.sold ?? event.capacity - event.available - (event.held ?? 0);

/** The revenue as text; empty if there is none. @param {Api.Takings[]} takings any number per currency */
function revenue(takings) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const { currency, amount } of takings) if (amount) sums.set(currency, (sums.get(currency) ?? 0) + amount);
  return [...sums].map(([currency, amount]) => money(amount, currency)).join(" + ");
}

/** The revenue in parts per currency, so that no line breaks within an amount. @param {Api.Takings[]} takings */
const revenueParts = (takings) => (revenue(takings) || "–").split(/(?<= \+) /);

/** @param {Api.EventItem[]} events @param {Api.Takings[]} sales */
function totals(events, sales) {
  const published = events.filter(({ status }) => status === "published");
  return [
    figure(t("organizer.published"), published.length),
    figure(
      t("organizer.sold"),
      published.reduce((sum, event) => sum + soldSeats(event), 0),
    ),
    figure(t("organizer.revenue"), ...revenueParts(sales)),
  ];
}

/**
 * The figures of one event: sold, held and available seats, and revenue.
 * @param {Api.EventItem} event
 * @param {Api.Takings[]} sales
 */
export function eventFigures(event, sales) {
  return h(
    "dl.figures",
    figure(t("organizer.sold"), soldSeats(event)),
    figure(t("editor.held"), event.held ?? 0),
    figure(t("editor.available"), event.available),
    figure(t("organizer.revenue"), ...revenueParts(sales)),
  );
}

/** @param {string} name @param {...(string | number)} values */
function figure(name, ...values) {
  const texts = values.map((value) => (typeof value === "number" ? number(value) : value));
  const long = texts.some((text) => text.length > 9);
  const shown = texts.length > 1 ? texts.map((text) => h("span", text)) : texts;
  return h(long ? "div.card.figure.long" : "div.card.figure", h("dt", name), h("dd", shown));
}

/** @param {Api.EventItem} event @param {Api.Takings[]} sales */
function row(event, sales) {
  const { tone, text } = availability(event);
  const sold = soldSeats(event);
  const revenueText = revenue(sales);
  return h(
    "li.card.row-card",
    h("span.thumb", cover(event)),
    h(
      "div",
      h("h2", h("a.stretched", { href: `/organizer/events/${event.id}` }, event.title)),
      h("p.meta", `${eventTime(event)} · ${isolated(event.venue)}`),
    ),
    h(
      "div.row-end",
      h(`span.pill.${tone}`, text),
      h(
        "span.meta",
        t("organizer.sold_of", { sold, capacity: event.capacity }),
        event.held ? ` · ${tn("organizer.held", event.held)}` : undefined,
        revenueText && ` · ${revenueText}`,
      ),
      h("progress", { max: event.capacity, value: sold, "aria-hidden": "true" }),
    ),
  );
}
