// The tickets of one booking, one per screen, each with its QR code. Once opened, the page works without a network.
import { NetworkError, get, request, serverNow } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { field, form } from "../forms.js";
import { autoRefresh } from "../fresh.js";
import { eventTime, explain, t, zonedTime } from "../i18n.js";
import { keep, keepPage, kept } from "../offline.js";
import { qrCode } from "../qr.js";
import { currentUser } from "../session.js";
import { toast } from "../toast.js";
import { alertBox, iconButton, setTitle, skeletons } from "../views.js";

/** @typedef {{ booking: Api.Booking, event: Api.EventItem | null }} Shown */

/** @type {PageModule["render"]} */
export async function render(root, { id, signal }) {
  replace(root, skeletons("ticket-skeleton", 1));
  const name = `tickets.${currentUser()?.id}.${id}`;
  const { box, showMessage } = alertBox();
  const list = h("div.tickets");
  let drawn = "";
  /** @param {Shown} shown */
  const draw = (shown) => {
    const state = JSON.stringify(shown);
    if (state === drawn) return;
    if (!drawn) drawFrame(root, shown, box, list);
    drawn = state;
    const tickets = shown.booking.tickets ?? [];
    replace(
      list,
      tickets.map((ticket, i) => ticketView({ ticket, ...shown, refresh, place: [i + 1, tickets.length] })),
    );
  };
  const refresh = async () => {
    const shown = await load(id, signal);
    if (signal.aborted) return;
    draw(shown);
    showMessage();
    await keep(name, shown);
  };
  /** @type {Shown | undefined} */
  const stored = await kept(name).catch(() => undefined);
  if (signal.aborted) return;
  if (stored) {
    draw(stored);
    void refresh().catch((error) => {
      if (signal.aborted) return;
      if (error instanceof NetworkError) showMessage(t("ticket.offline"), true);
      else showMessage(explain(error));
    });
  } else await refresh();
  if (list.firstElementChild?.id !== `ticket-${id}`) list.querySelector(`#ticket-${id}`)?.scrollIntoView();
  // Not while somebody types a name.
  autoRefresh(async () => void (list.querySelector("details[open]") || (await refresh())), signal);
  void keepPage("/me/tickets/");
}

/** @param {string} id @param {AbortSignal} signal @returns {Promise<Shown>} */
async function load(id, signal) {
  /** @type {{ booking_id: number }} */
  const { booking_id: bookingId } = await get(`/tickets/${id}`, { signal });
  /** @type {Api.Booking} */
  const booking = await get(`/bookings/${bookingId}`, { signal });
  return { booking, event: await get(`/api/events/${booking.event_id}`, { signal }).catch(() => null) };
}

/** The title of the event, as far as it is known. @param {Shown} shown */
const titleOf = ({ booking, event }) => event?.title ?? booking.event_title ?? t("booking.title", { id: booking.id });

/**
 * @param {HTMLElement} root
 * @param {Shown} shown
 * @param {HTMLElement} box
 * @param {HTMLElement} list
 */
function drawFrame(root, shown, box, list) {
  const title = titleOf(shown);
  setTitle(title);
  const print = iconButton("print", t("ticket.print"), { onclick: () => globalThis.print() });
  replace(
    root,
    h(
      "p.ticket-bar",
      h("a.back", { href: `/me/bookings/${shown.booking.id}` }, "← ", t("booking.title", { id: shown.booking.id })),
      print,
    ),
    h("h1.unseen", title),
    box,
    list,
    globalThis.caches && h("p.hint.kept", t("ticket.kept")),
  );
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
  const text = state === "used" && at ? t("ticket.used", { time: zonedTime(at, event) }) : t(`ticket.${state}`);
  return h(
    "article.card.code-ticket",
    { id: `ticket-${id}`, "aria-label": t("ticket.of", { number, count }) },
    h(`p.pill.${{ valid: "good", used: "quiet", void: "bad" }[state]}`, text),
    code ? qrCode(code, t("ticket.code")) : h("p.no-code", icon("close"), t("ticket.no_code")),
    h("p.holder", holder),
    h("h2", titleOf({ booking, event })),
    event && h("p.meta", h("time", { datetime: event.starts_at }, eventTime(event)), h("br"), event.venue),
    h("p.hint", `${t("ticket.of", { number, count })} · #${booking.id}`),
    changeable && holderForm(ticket, refresh),
  );
}

/** @param {Api.Ticket} ticket @param {() => Promise<void>} refresh */
function holderForm({ id, holder_name: value }, refresh) {
  const name = field({ name: "holder_name", label: t("ticket.holder"), value, required: true, maxLength: 100 });
  const { element } = form([name], {
    content: [name.root, h("p.hint", t("ticket.rename_text"))],
    submit: t("ticket.rename"),
    onSubmit: async () => {
      await request("PATCH", `/tickets/${id}`, { body: { holder_name: name.control.value } });
      await refresh();
      toast(t("ticket.renamed"));
    },
  });
  return h("details", h("summary", t("ticket.change_holder")), element);
}
