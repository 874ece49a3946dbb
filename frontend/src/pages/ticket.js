// The tickets of one booking, one per screen, each with its code.
import { get, request, serverNow } from "../api.js";
import { announce, h, icon, replace } from "../dom.js";
import { autoRefresh } from "../fresh.js";
import { eventTime, explain, shortTime, t } from "../i18n.js";
import { qrCode } from "../qr.js";
import { toast } from "../toast.js";
import { alertBox, setTitle, skeletons, whileBusy } from "../views.js";

/** @type {PageModule["render"]} */
export async function render(root, { id, signal }) {
  replace(root, skeletons("ticket-skeleton", 1));
  /** @type {{ booking_id: number }} */
  const { booking_id: bookingId } = await get(`/tickets/${id}`, { signal });
  const load = () => /** @type {Promise<Api.Booking>} */ (get(`/bookings/${bookingId}`, { signal }));
  let booking = await load();
  /** @type {Api.EventItem | null} */
  const event = await get(`/api/events/${booking.event_id}`, { signal }).catch(() => null);
  if (signal.aborted) return;
  const title = event?.title ?? booking.event_title ?? t("booking.title", { id: bookingId });
  setTitle(title);
  const list = h("div.tickets");
  let drawn = "";
  const draw = () => {
    const state = JSON.stringify(booking.tickets);
    if (state === drawn) return;
    drawn = state;
    const tickets = booking.tickets ?? [];
    replace(
      list,
      tickets.map((ticket, i) => ticketView({ ticket, event, booking, refresh, place: [i + 1, tickets.length] })),
    );
  };
  const refresh = async () => {
    booking = await load();
    if (!signal.aborted) draw();
  };
  draw();
  replace(root, h("p", h("a.back", { href: `/me/bookings/${bookingId}` }, "← ", title)), h("h1.unseen", title), list);
  // The page is in the document after this function has returned.
  queueMicrotask(() => list.querySelector(`#ticket-${id}`)?.scrollIntoView());
  // Not while somebody types a name.
  autoRefresh(async () => void (list.contains(document.activeElement) || (await refresh())), signal);
}

/**
 * @param {object} parts
 * @param {Api.Ticket} parts.ticket
 * @param {Api.EventItem | null} parts.event
 * @param {Api.Booking} parts.booking
 * @param {() => Promise<void>} parts.refresh
 * @param {[number, number]} parts.place the ticket's number, and how many there are
 */
function ticketView({ ticket, event, booking, refresh, place: [number, count] }) {
  const { id, code, state, holder_name: holder, checked_in_at: at } = ticket;
  const startsAt = event?.starts_at ?? booking.event_starts_at;
  const changeable = state === "valid" && Boolean(startsAt && Date.parse(startsAt) > serverNow());
  const text =
    state === "used" && at ? t("ticket.used", { time: shortTime(at, event?.time_zone) }) : t(`ticket.${state}`);
  return h(
    "article.card.code-ticket",
    { id: `ticket-${id}`, "aria-label": t("ticket.of", { number, count }) },
    h(`p.pill.${{ valid: "good", used: "warn", void: "bad" }[state]}`, text),
    h("h2", event?.title ?? booking.event_title ?? ""),
    event && h("p.meta", h("time", { datetime: event.starts_at }, eventTime(event)), h("br"), event.venue),
    code ? qrCode(code, t("ticket.code")) : h("p.no-code", icon("close"), t("ticket.no_code")),
    h("p.holder", holder),
    h("p.hint", `${t("ticket.of", { number, count })} · #${booking.id}`),
    changeable && holderForm(ticket, refresh),
  );
}

/** @param {Api.Ticket} ticket @param {() => Promise<void>} refresh */
function holderForm({ id, holder_name: holder }, refresh) {
  const { box, showMessage } = alertBox();
  const input = h("input", {
    name: "holder_name",
    value: holder,
    required: true,
    maxlength: 100,
    "aria-label": t("ticket.holder"),
  });
  const button = h("button.button.plain", { type: "submit" }, t("ticket.rename"));
  const form = h("form.holder-form", h("p.hint", t("ticket.rename_text")), input, button, box);
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    try {
      await whileBusy(button, () => request("PATCH", `/tickets/${id}`, { body: { holder_name: input.value } }));
    } catch (error) {
      return showMessage(explain(error));
    }
    toast(t("ticket.renamed"));
    announce(t("ticket.renamed"));
    await refresh();
  });
  return h("details", h("summary", t("ticket.change_holder")), form);
}
