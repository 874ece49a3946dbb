// One booking: the hold and the payment, then the ticket.
import { get, serverNow } from "../api.js";
import { downloadCalendar } from "../calendar.js";
import { cover } from "../cover.js";
import { announce, h, icon, pause, replace } from "../dom.js";
import { cancelBooking, releaseButton } from "../hold.js";
import { clock, eventTime, localTimeOfDay, money, t, tn, zonedTime } from "../i18n.js";
import { onNotification } from "../live.js";
import { paymentForm } from "../payment.js";
import { alertBox, bookingState, confirmDialog, iconButton, setTitle, skeletons, whileBusy } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { id, signal }) {
  replace(root, skeletons("ticket-skeleton", 1));
  /** @type {Api.Booking} */
  let booking = await get(`/bookings/${id}`, { signal });
  const findEvent = async () =>
    /** @type {Api.EventItem | null} */ (await get(`/api/events/${booking.event_id}`, { signal }).catch(() => null));
  let event = await findEvent();
  if (signal.aborted) return;
  const title = () => event?.title ?? booking.event_title ?? t("booking.title", { id });
  setTitle(title());

  const ticket = h("div.ticket-shade");
  const side = h("div.ticket-side");
  const page = h("div.booking-page", ticket, side);
  replace(root, page);
  let drawn = "";
  let drawing = new AbortController();

  const draw = () => {
    replace(ticket, ticketView(booking, event, title()));
    page.classList.toggle("unpaid", booking.status === "Pending");
    // A declined payment must not redraw the form that shows the error.
    const relevant =
      booking.status === "Pending"
        ? [booking.amount]
        : [
            booking.tickets?.length,
            booking.payment_status,
            booking.cancellable_until,
            event?.status,
            event?.starts_at,
            event?.venue,
          ];
    const state = JSON.stringify([booking.status, ...relevant]);
    if (state === drawn) return;
    drawn = state;
    drawing.abort();
    drawing = new AbortController();
    replace(side, sideView(booking, event, refresh, AbortSignal.any([signal, drawing.signal])));
  };
  const refresh = async () => {
    /** @type {Api.Booking} */
    const next = await get(`/bookings/${id}`, { signal });
    if (signal.aborted || JSON.stringify(next) === JSON.stringify(booking)) return;
    const before = booking.status;
    booking = next;
    draw();
    if (before === booking.status) return;
    announce(bookingState(booking).text);
    scrollTo(0, 0);
  };
  draw();
  onNotification(async (notification) => {
    if (notification.event_id !== booking.event_id) return;
    event = (await findEvent()) ?? event;
    if (signal.aborted) return;
    draw();
    await refresh().catch(() => undefined);
  }, signal);
}

/**
 * @param {Api.Booking} booking
 * @param {Api.EventItem | null} event
 * @param {string} title
 */
function ticketView(booking, event, title) {
  const { tone, text } = bookingState(booking);
  const valid = booking.status === "Confirmed";
  /** @param {string} name @param {import("../dom.js").Child} value */
  const fact = (name, value) => h("div", h("dt", name), h("dd", value));
  return h(
    valid ? "article.ticket.valid" : "article.ticket",
    h("div.ticket-cover", cover(event ?? { title })),
    h(
      "div.ticket-main",
      h(`p.pill.${tone}`, text),
      h("h1", h("a", { href: `/events/${booking.event_id}` }, title)),
      event && h("p.meta", h("time", { datetime: event.starts_at }, eventTime(event)), h("br"), event.venue),
      h(
        "dl",
        fact(t("book.seats"), tn("book.seats_count", booking.seats)),
        booking.amount !== null &&
          booking.currency !== null &&
          fact(t("book.total"), booking.amount ? money(booking.amount, booking.currency) : t("price.free")),
      ),
    ),
    h("div.ticket-stub", icon("ticket"), h("dl", fact(t("booking.number"), `#${booking.id}`))),
  );
}

/**
 * The part beside the ticket.
 * @param {Api.Booking} booking
 * @param {Api.EventItem | null} event
 * @param {() => Promise<void>} refresh
 * @param {AbortSignal} signal
 */
function sideView(booking, event, refresh, signal) {
  if (booking.status === "Pending" && !booking.amount) return waitingView(refresh, signal);
  if (booking.status === "Pending") {
    const { box, showMessage } = alertBox();
    return [
      holdTimer(booking, event, refresh, signal),
      paymentForm(booking, refresh, signal),
      releaseButton(booking, showMessage, refresh),
      box,
    ];
  }
  if (booking.status === "Confirmed") return confirmedView(booking, event, refresh);
  const again = event?.status === "published" && Date.parse(event.starts_at) > Date.now();
  return [
    h("h2", bookingState(booking).text),
    h("p", closedText(booking)),
    h(
      "p.actions",
      again && h("a.button", { href: `/events/${booking.event_id}` }, t("booking.again")),
      h("a.button.plain", { href: "/" }, t("booking.other")),
    ),
  ];
}

/**
 * The seats are not held yet, because a service was unavailable. The platform retries, and the page polls.
 * @param {() => Promise<void>} refresh
 * @param {AbortSignal} signal
 */
function waitingView(refresh, signal) {
  void poll(refresh, 2000, signal).catch(() => undefined);
  return h("p.hold", { role: "status" }, t("booking.waiting"));
}

/** @param {() => Promise<void>} refresh @param {number} every milliseconds @param {AbortSignal} signal */
async function poll(refresh, every, signal) {
  for (;;) {
    await pause(every, signal);
    await refresh().catch(() => undefined);
  }
}

/** @param {Api.Booking} booking */
function closedText({ status, payment_status: payment, cancel_reason: reason, refund, currency }) {
  if (status === "Expired") return t("booking.expired_text");
  if (status === "Rejected") return t("booking.rejected_text");
  const prefix = reason === "event_cancelled" ? `${t("booking.event_cancelled_text")} ` : "";
  if (refund) {
    const key = payment === "Refunded" ? "booking.refunded_text" : "booking.refunding_text";
    return prefix + t(key, { amount: money(refund.amount, currency ?? "EUR") });
  }
  return prefix || t(payment === "Paid" ? "booking.cancelled_text" : "booking.released_text");
}

/**
 * The countdown of the hold.
 * @param {Api.Booking} booking
 * @param {Api.EventItem | null} event
 * @param {() => Promise<void>} refresh
 * @param {AbortSignal} signal
 */
function holdTimer(booking, event, refresh, signal) {
  if (!booking.expires_at) return undefined;
  const end = Date.parse(booking.expires_at);
  const total = (end - Date.parse(booking.created_at)) / 1000;
  const time = h("b", { role: "timer" });
  const bar = h("progress", { max: total, "aria-hidden": "true" });
  const box = h(
    "section.hold",
    h("p", icon("clock"), h("span", t("pay.held")), time),
    bar,
    h("p.hint", t("pay.held_until", { time: localTimeOfDay(booking.expires_at, event) })),
  );
  const run = async () => {
    for (;;) {
      const left = Math.max(0, Math.ceil((end - serverNow()) / 1000));
      time.textContent = clock(left);
      bar.value = left;
      box.classList.toggle("urgent", left < 120);
      if (left === 300 || left === 60) announce(tn("pay.minutes_left", left / 60));
      if (left === 0) break;
      await pause(1000, signal);
    }
    announce(t("pay.hold_over"));
    // event-service decides about expiry, within half a minute.
    await poll(refresh, 3000, signal);
  };
  run().catch(() => undefined);
  return box;
}

/**
 * @param {Api.Booking} booking
 * @param {Api.EventItem | null} event
 * @param {() => Promise<void>} refresh
 */
function confirmedView(booking, event, refresh) {
  const { box, showMessage } = alertBox();
  const cancel = iconButton("close", t("booking.cancel"), {});
  cancel.addEventListener("click", async () => {
    const text = booking.amount
      ? t("booking.cancel_text_paid", { amount: money(booking.amount, booking.currency ?? "EUR") })
      : t("booking.cancel_text");
    if (!(await confirmDialog({ title: t("booking.cancel_title"), text, yes: t("booking.cancel"), danger: true })))
      return;
    await whileBusy(cancel, () => cancelBooking(booking, t("booking.cancelled_toast"), showMessage, refresh));
  });
  const { tickets = [], cancellable_until: until } = booking;
  const cancellable = Date.parse(until ?? event?.starts_at ?? "") > serverNow();
  const time = cancellable && until && zonedTime(until, event);
  return [
    h("h2", t("booking.ready")),
    h("p", t("booking.ready_text")),
    time && h("p.hint", t("booking.cancellable_until", { time })),
    h(
      "p.actions",
      tickets.length > 0 && h("a.button", { href: `/me/tickets/${tickets[0].id}` }, tn("ticket.show", tickets.length)),
      event && iconButton("calendar", t("event.to_calendar"), { onclick: () => downloadCalendar(event) }),
      cancellable && cancel,
    ),
    box,
  ];
}
