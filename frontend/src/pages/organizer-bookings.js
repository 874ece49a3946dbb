// One event's bookings: figures, sales over time, and attendees.
import { get } from "../api.js";
import { isolated } from "../bidi.js";
import { salesChart } from "../chart.js";
import { announce, h, icon, replace } from "../dom.js";
import { doorSection } from "../door.js";
import { autoRefresh } from "../fresh.js";
import { explain, money, number, localZone, shortTime, t, tn, tOr } from "../i18n.js";
import { alertBox, iconButton, loadPart, moreButton, searchText, setTitle, skeletons, whileBusy } from "../views.js";
import { eventFigures } from "./organizer.js";

const PAGE_SIZE = 50;

/** @type {PageModule["render"]} */
export async function render(root, { id, signal }) {
  replace(root, skeletons("event-page-skeleton", 1));
  /** @type {Api.EventItem} */
  const event = await get(`/api/events/${id}`, { signal });
  setTitle(`${t("attendees.page")} · ${isolated(event.title)}`);
  const figures = h("div", h("div.figures", skeletons("figure-skeleton", 4)));
  const attendeeList = attendees(event, signal);
  replace(
    root,
    h("p", h("a.back", { href: `/organizer/events/${id}` }, "← ", event.title)),
    h("h1", t("attendees.page")),
    figures,
    event.status === "published" && doorSection(event, signal),
    attendeeList.element,
  );
  /** @returns {Promise<[Api.EventItem, Api.Sales]>} */
  const load = () =>
    Promise.all([get(`/api/events/${id}`, { signal }), get(`/bookings/events/${id}/sales`, { signal })]);
  let drawn = "";
  /** @param {[Api.EventItem, Api.Sales]} data */
  const draw = (data) => {
    drawn = JSON.stringify(data);
    return [eventFigures(data[0], data[1].totals), zoneHint(data[0]), salesCard(data[1])];
  };
  void loadPart(figures, signal, load, draw);
  autoRefresh(async () => {
    const data = await load();
    if (signal.aborted || JSON.stringify(data) === drawn) return;
    const open = figures.querySelector("details")?.open;
    replace(figures, draw(data));
    figures.querySelector("details")?.toggleAttribute("open", open === true);
    attendeeList.refresh();
  }, signal);
}

/** Names the time zone of the chart if it differs from the visitor's. @param {Api.EventItem} event */
function zoneHint({ time_zone: zone }) {
  const zones = { zone: zone.replaceAll("_", " "), own: localZone.replaceAll("_", " ") };
  return zone !== localZone && h("p.hint", t("sales.zone", zones));
}

/** @param {Api.Sales} sales */
function salesCard({ days, totals }) {
  const cancelled = totals.filter(({ cancelled_seats: seats }) => seats);
  return h(
    "section.card.sales",
    h("h2", t("sales.title")),
    days.length ? salesChart(days) : h("p.hint", t("sales.none")),
    cancelled.map(({ cancelled_seats: n, cancelled_amount: amount, currency }) =>
      h("p.hint", tn("sales.given_back", n, { amount: money(amount, currency) })),
    ),
  );
}

/** @param {Api.EventItem} event @param {AbortSignal} signal */
function attendees(event, signal) {
  const path = `/bookings/events/${event.id}/attendees`;
  const { box, showMessage } = alertBox();
  const search = h("input", {
    type: "search",
    "aria-label": t("attendees.search"),
    placeholder: t("attendees.search"),
  });
  const body = h("tbody");
  const foot = h("div");
  const none = h("p.hint", { hidden: true });
  let current = new AbortController();

  /** @param {string | null} cursor */
  const load = async (cursor) => {
    current.abort();
    current = new AbortController();
    const query = { search: searchText(search.value), limit: PAGE_SIZE, cursor };
    /** @type {Api.Page<Api.Attendee>} */
    const page = await get(path, { query, signal: AbortSignal.any([signal, current.signal]) });
    if (!cursor) body.replaceChildren();
    body.append(...page.items.map((attendee) => row(attendee, event.time_zone)));
    none.hidden = body.children.length > 0;
    none.textContent = t(query.search ? "attendees.not_found" : "attendees.none");
    replace(foot, page.next_cursor && moreButton(t("attendees.more"), () => load(page.next_cursor)));
    announce(tn("attendees.shown", body.children.length));
  };
  const show = () =>
    load(null).then(
      () => showMessage(),
      (error) => error instanceof DOMException || showMessage(explain(error)),
    );
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 180);
  });
  const csvButton = iconButton("download", t("attendees.sheet"), {});
  csvButton.addEventListener("click", () =>
    // This request refreshes the session if necessary, which a download cannot do.
    whileBusy(csvButton, () => get("/users/me", { signal })).then(
      () => location.assign(`${path}.csv?${new URLSearchParams({ search: searchText(search.value) })}`),
      (error) => showMessage(explain(error)),
    ),
  );
  const head = ["attendees.person", "book.seats", "attendees.paid"].map((key) =>
    h("th", { scope: "col" }, t(/** @type {import("../i18n.js").TextKey} */ (key))),
  );
  const element = h(
    "section.attendees",
    h("div.page-head", h("h2", t("attendees.title")), csvButton),
    h("div.search-box", icon("search"), search),
    box,
    h("div.scroll", h("table", h("thead", h("tr", head)), body)),
    none,
    foot,
  );
  void show();
  // A user who has loaded more pages keeps them.
  return { element, refresh: () => body.children.length <= PAGE_SIZE && void show() };
}

/** @param {Api.Attendee} attendee @param {string} zone */
function row({ booking_id: id, name, email, seats, amount, currency, status, created_at: at }, zone) {
  const state = status === "Confirmed" ? "" : ` · ${tOr(`booking.${status}`, status)}`;
  return h(
    "tr",
    h(
      "th",
      { scope: "row" },
      name || t("attendees.deleted"),
      email && h("small", email),
      h("small", `#${id} · ${shortTime(at, zone)}${state}`),
    ),
    h("td", number(seats)),
    h("td", amount ? money(amount, currency) : t("price.free")),
  );
}
