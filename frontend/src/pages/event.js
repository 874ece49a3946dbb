// One event, with the panel to book it.
import { toMajor } from "../amounts.js";
import { get, serverNow } from "../api.js";
import { downloadCalendar } from "../calendar.js";
import { cover } from "../cover.js";
import { announce, h, icon, replace, uniqueId } from "../dom.js";
import { autoRefresh } from "../fresh.js";
import { releaseButton } from "../hold.js";
import { eventTime, localEventTime, explain, localTimeOfDay, money, price, sameClock, t, tn } from "../i18n.js";
import { postOnce, pendingBody } from "../intent.js";
import { onNotification } from "../live.js";
import { accountPath, navigate } from "../router.js";
import { currentUser, sessionEvents } from "../session.js";
import { toast } from "../toast.js";
import { alertBox, availability, categoryName, iconButton, setTitle, skeletons, whileBusy } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { id, query, signal }) {
  replace(root, skeletons("event-page-skeleton", 1));
  /** @type {Api.EventItem} */
  const event = await get(`/api/events/${id}`, { signal });
  setTitle(event.title);
  const panel = bookingPanel(event, Number(query.get("seats")) || 1);
  replace(
    root,
    h(
      "article.event-page",
      h("div.event-cover", cover(event)),
      h("header", event.category && h("p.eyebrow", categoryName(event.category)), h("h1", event.title)),
      facts(event),
      panel.element,
      event.description && h("section.prose", h("h2", t("event.about")), paragraphs(event.description)),
    ),
    structuredData(event),
  );
  const refreshHolds = showHolds(event, panel.holds, signal);
  sessionEvents.addEventListener("change", panel.show, { signal });
  sessionEvents.addEventListener("change", () => void refreshHolds(), { signal });
  onNotification(({ event_id: about }) => about === event.id && void refreshHolds(), signal);
  void refreshHolds();
  // The number of available seats changes. Only the panel is drawn again; other changes show on the next visit.
  autoRefresh(async () => {
    const before = JSON.stringify(event);
    Object.assign(event, await get(`/api/events/${event.id}`, { signal }));
    if (JSON.stringify(event) !== before) panel.show();
    await refreshHolds();
  }, signal);
}

/**
 * Shows the visitor's unpaid holds of the event.
 * @param {Api.EventItem} event
 * @param {HTMLElement} place
 * @param {AbortSignal} signal
 * @returns {() => Promise<void>} refreshes them
 */
function showHolds(event, place, signal) {
  const refresh = async () => {
    /** @type {Api.Page<Api.Booking>} */
    const page = currentUser()
      ? await get("/bookings", { query: { status: "Pending", limit: 100 }, signal }).catch(() => ({ items: [] }))
      : { items: [], next_cursor: null };
    if (signal.aborted) return;
    const held = page.items.filter(
      ({ event_id: id, expires_at: end }) => id === event.id && end && Date.parse(end) > serverNow(),
    );
    replace(
      place,
      held.map((booking) => holdView(booking, event, refresh)),
    );
  };
  return refresh;
}

/** @param {Api.Booking} booking @param {Api.EventItem} event @param {() => Promise<void>} refresh */
function holdView(booking, event, refresh) {
  const { box, showMessage } = alertBox();
  const time = localTimeOfDay(booking.expires_at ?? "", event);
  return h(
    "section.own-hold",
    h("p", icon("clock"), h("span", tn("book.held", booking.seats, { time }))),
    h("a.button.wide", { href: `/me/bookings/${booking.id}` }, t("book.continue")),
    releaseButton(booking, showMessage, refresh),
    box,
  );
}

/** @param {Api.EventItem} event */
function facts(event) {
  const link = () => `${location.origin}/events/${event.id}`;
  const share = iconButton("share", t("event.share"), {
    onclick: async () => {
      try {
        if (navigator.share) return await navigator.share({ title: event.title, url: link() });
        await navigator.clipboard.writeText(link());
        toast(t("event.link_copied"));
      } catch {
        // The visitor cancelled, or the browser refused; the address bar has the link.
      }
    },
  });
  /** @param {string} symbol @param {string} name @param {...import("../dom.js").Child} value */
  const fact = (symbol, name, ...value) => h("div", h("dt", icon(symbol), h("span.unseen", name)), h("dd", ...value));
  const localTime = !sameClock(event) && h("small", t("event.your_time", { time: localEventTime(event) }));
  const zone = h("small", t("event.zone", { zone: event.time_zone.replaceAll("_", " ") }));
  return h(
    "div.facts",
    h(
      "dl",
      fact("calendar", t("event.when"), h("time", { datetime: event.starts_at }, eventTime(event)), localTime),
      fact("pin", t("event.where"), event.venue, zone),
    ),
    h("div.actions", iconButton("calendar", t("event.to_calendar"), { onclick: () => downloadCalendar(event) }), share),
  );
}

/** Paragraphs, which empty lines separate. @param {string} text */
const paragraphs = (text) => text.split(/\n\s*\n/).map((part) => h("p", part));

/**
 * @param {Api.EventItem} event
 * @param {number} initialSeats
 */
function bookingPanel(event, initialSeats) {
  const element = h("aside.panel", { "aria-label": t("book.title") });
  const limitId = uniqueId();
  const seats = h("input", {
    id: "seats",
    name: "seats",
    type: "number",
    inputmode: "numeric",
    min: 1,
    step: 1,
    value: initialSeats,
    "aria-describedby": limitId,
  });
  const limitHint = h("small.hint", { id: limitId });
  const total = h("output", { for: "seats" });
  const { box, showMessage } = alertBox();
  const holds = h("div.own-holds");
  const button = h("button.button.wide", { type: "submit" }, "");
  const limit = () =>
    Math.max(
      1,
      Math.min(event.available, event.max_seats_per_booking ?? Infinity, event.max_seats_per_person ?? Infinity),
    );

  const updateTotal = () => {
    const count = Math.min(Math.max(1, Math.trunc(Number(seats.value)) || 1), limit());
    if (seats.value && Number(seats.value) !== count) seats.value = String(count);
    total.textContent = event.price === 0 ? t("price.free") : money(event.price * count, event.currency);
    button.textContent = !currentUser() ? t("book.login") : tn(event.price === 0 ? "book.free" : "book.button", count);
    // Not `disabled`, which would remove the focus.
    fewer.setAttribute("aria-disabled", String(count <= 1));
    more.setAttribute("aria-disabled", String(count >= limit()));
    limitHint.textContent = tn("book.limit", limit());
    return count;
  };
  /** @param {number} change */
  const step = (change) => () => {
    seats.value = String(Number(seats.value || 1) + change);
    announce(tn("book.seats_count", updateTotal()));
  };
  const fewer = stepButton("minus", t("book.fewer"), step(-1));
  const more = stepButton("plus", t("book.more"), step(1));
  seats.addEventListener("input", updateTotal);
  const chooser = h(
    "form.chooser",
    { novalidate: true },
    h(
      "div.row",
      h("div", h("label", { for: "seats" }, t("book.seats")), limitHint),
      h("span.stepper", fewer, seats, more),
    ),
    h("div.row.total", h("span", t("book.total")), total),
    box,
    button,
    h("p.hint", t(event.price === 0 ? "book.hint_free" : "book.hint")),
  );

  const show = () => {
    const { open, tone, text } = availability(event);
    seats.max = String(limit());
    updateTotal();
    replace(
      element,
      event.status !== "cancelled" &&
        h("p.price", h("strong", price(event)), event.price > 0 && h("span", t("price.per_seat"))),
      h(`p.pill.${tone}`, text),
      holds,
      open ? meter(event) : undefined,
      open ? chooser : h("p.hint", closedHint(event)),
    );
  };
  const book = (/** @type {number} */ count) => bookSeats(event, count, button, showMessage, show);
  chooser.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    void book(updateTotal());
  });
  show();
  const user = currentUser();
  const pending = user && pendingBody(`book:${event.id}`, user.id);
  if (pending) {
    seats.value = pending.seats;
    showMessage(t("book.resuming"), true);
    void book(pending.seats);
  }
  return { element, holds, show };
}

/**
 * @param {string} symbol
 * @param {string} label
 * @param {() => void} onclick
 */
const stepButton = (symbol, label, onclick) => h("button", { "aria-label": label, onclick }, icon(symbol));

/** Why the event cannot be booked. @param {Api.EventItem} event */
function closedHint({ status, ends_at: end, available }) {
  if (status === "cancelled") return t("book.cancelled_hint");
  if (status === "draft") return t("book.draft_hint");
  if (Date.parse(end) < Date.now()) return t("book.over_hint");
  return t(available === 0 ? "book.sold_out_hint" : "book.closed_hint");
}

/** The share of taken seats. @param {Api.EventItem} event */
function meter(event) {
  const taken = event.capacity - event.available;
  return h("progress", {
    max: event.capacity,
    value: taken,
    "aria-label": t("event.taken", { taken, capacity: event.capacity }),
  });
}

/**
 * @param {Api.EventItem} event
 * @param {number} seats
 * @param {HTMLButtonElement} button
 * @param {(text?: string) => void} showMessage
 * @param {() => void} show
 */
async function bookSeats(event, seats, button, showMessage, show) {
  const user = currentUser();
  if (!user) return navigate(accountPath("login", `/events/${event.id}?seats=${seats}`));
  if (button.disabled) return;
  await whileBusy(button, async () => {
    try {
      const booking = await postOnce(`book:${event.id}`, user.id, "/bookings", { event_id: event.id, seats });
      await navigate(`/me/bookings/${booking.id}`);
    } catch (error) {
      if (/** @type {{ status?: number }} */ (error).status === 401)
        return navigate(accountPath("login", `/events/${event.id}?seats=${seats}`));
      showMessage(explain(error));
      Object.assign(event, await get(`/api/events/${event.id}`).catch(() => ({})));
      show();
    }
  });
}

/** The event for search engines (schema.org). @param {Api.EventItem} event */
function structuredData(event) {
  const available = availability(event).open;
  const data = {
    "@context": "https://schema.org",
    "@type": "Event",
    name: event.title,
    description: event.description,
    startDate: event.starts_at,
    endDate: event.ends_at,
    eventStatus: `https://schema.org/${event.status === "cancelled" ? "EventCancelled" : "EventScheduled"}`,
    location: { "@type": "Place", name: event.venue, address: event.venue },
    image: event.image_url ?? undefined,
    offers: {
      "@type": "Offer",
      price: toMajor(event.price, event.currency),
      priceCurrency: event.currency,
      availability: `https://schema.org/${available ? "InStock" : "SoldOut"}`,
      url: `${location.origin}/events/${event.id}`,
    },
  };
  return h("script", { type: "application/ld+json" }, JSON.stringify(data));
}
