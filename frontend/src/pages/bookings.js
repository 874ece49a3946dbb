// The user's bookings, newest first.
import { get } from "../api.js";
import { isolated } from "../bidi.js";
import { cover } from "../cover.js";
import { h, replace } from "../dom.js";
import { autoRefresh } from "../fresh.js";
import { money, shortTime, t, tn, zonedTime } from "../i18n.js";
import { onNotification } from "../live.js";
import { bookingState, emptyView, moreButton, setTitle, skeletons } from "../views.js";

/** Events by id, each loaded once. @type {Map<string, Promise<Api.EventItem | null>>} */
const events = new Map();

/** The drawn bookings as JSON, by id. @type {Map<number, string>} */
const drawn = new Map();

/** @type {PageModule["render"]} */
export async function render(root, { signal }) {
  setTitle(t("nav.bookings"));
  const list = h("ul.list", skeletons("row-skeleton", 4));
  const foot = h("div");
  replace(root, h("h1", t("nav.bookings")), list, foot);
  events.clear();
  drawn.clear();

  /** @param {string | null} cursor */
  const load = async (cursor) => {
    /** @type {Api.Page<Api.Booking>} */
    const page = await get("/bookings", { query: { limit: 20, cursor }, signal });
    if (signal.aborted) return;
    if (cursor === null) replace(list);
    list.append(...page.items.map((booking) => row(booking)));
    replace(foot, page.next_cursor && moreButton(t("bookings.more"), () => load(page.next_cursor)));
    if (!list.children.length) {
      replace(
        root,
        h("h1", t("nav.bookings")),
        emptyView(t("bookings.empty"), t("bookings.empty_text"), h("a.button", { href: "/" }, t("bookings.discover"))),
      );
    }
  };
  /** Redraws a booking, or adds it at the top. @param {Api.Booking} booking */
  const update = (booking) => {
    if (signal.aborted || drawn.get(booking.id) === JSON.stringify(booking)) return;
    if (!list.isConnected) replace(root, h("h1", t("nav.bookings")), list, foot);
    const old = list.querySelector(`a[href="/me/bookings/${booking.id}"]`);
    if (old) old.closest("li")?.replaceWith(row(booking));
    else list.prepend(row(booking));
  };
  await load(null);
  onNotification(async ({ booking_id: id, event_id: event }) => {
    if (event) events.delete(event);
    if (id) drawn.delete(id);
    if (id) await get(`/bookings/${id}`, { signal }).then(update, () => undefined);
  }, signal);
  autoRefresh(async () => {
    /** @type {Api.Page<Api.Booking>} */
    const page = await get("/bookings", { query: { limit: 20 }, signal });
    page.items.reverse().forEach(update);
  }, signal);
}

/** @param {Api.Booking} booking */
function row(booking) {
  drawn.set(booking.id, JSON.stringify(booking));
  const { tone, text } = bookingState(booking);
  const picture = h("span.thumb");
  const name = booking.event_title ?? t("booking.title", { id: booking.id });
  const title = h("a.stretched", { href: `/me/bookings/${booking.id}` }, name);
  const when = h("p.meta", "\u00a0");
  void eventOf(booking.event_id).then((event) => {
    replace(picture, cover(event ?? { title: name }));
    if (event) {
      replace(title, event.title);
      replace(when, `${zonedTime(event.starts_at, event)} · ${isolated(event.venue)}`);
    } else if (booking.event_starts_at) when.textContent = shortTime(booking.event_starts_at);
  });
  const price = booking.amount && booking.currency ? money(booking.amount, booking.currency) : t("price.free");
  const seats = tn("book.seats_count", booking.seats);
  return h(
    "li.card.row-card",
    picture,
    h("div", h("h2", title), when),
    h(
      "p.row-end",
      h(`span.pill.${tone}`, text),
      h("span.meta", booking.amount === null ? seats : `${seats} · ${price}`),
    ),
  );
}

/** @param {string} id */
function eventOf(id) {
  const request = events.get(id) ?? get(`/api/events/${id}`).catch(() => null);
  events.set(id, request);
  return request;
}
