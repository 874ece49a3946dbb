// Parts that pages share: titles, placeholders, errors, event cards, dialogs.
import { ApiError } from "./api.js";
import { isolated } from "./bidi.js";
import { commonCategory } from "./categories.js";
import { cover } from "./cover.js";
import { h, icon, replace, uniqueId } from "./dom.js";
import { date, localEventTime, explain, price, sameClock, t, tn, tOr, zonedTime } from "./i18n.js";

/** Sets the title of the document. @param {string} text */
export function setTitle(text) {
  document.title = `${isolated(text)} · ${t("brand")}`;
}

/**
 * @param {string} title
 * @param {string} text
 * @param {import("./dom.js").Child} [action]
 */
export function emptyView(title, text, action) {
  return h("section.empty", cover({ title, category: null }), h("h2", title), h("p", text), action);
}

/**
 * The page about an error.
 * @param {unknown} error
 * @param {() => void} retry
 */
export function errorView(error, retry) {
  const status = error instanceof ApiError ? error.status : 0;
  if (!status) console.error(error);
  const isMissing = status === 404;
  const title = isMissing ? t("problem.missing") : status === 403 ? t("problem.forbidden") : t("problem.title");
  const action =
    isMissing || status === 403
      ? h("a.button", { href: "/" }, t("problem.home"))
      : h("button.button", { onclick: retry }, t("action.retry"));
  return h(
    "section.empty",
    { role: "alert" },
    cover({ title, category: null }),
    h("h1", title),
    h("p", isMissing ? t("problem.missing_text") : explain(error)),
    action,
  );
}

/**
 * Stands for a part of a page that could not be loaded.
 * @param {unknown} error
 * @param {() => unknown} retry
 */
export function loadError(error, retry) {
  const button = h("button.button.plain", { onclick: () => retry() }, t("action.retry"));
  return h("p.alert", { role: "alert" }, explain(error), " ", button);
}

/**
 * Fills one part of a page. A failure does not affect the rest of the page.
 * @template T
 * @param {Element} place
 * @param {AbortSignal} signal
 * @param {() => Promise<T>} load
 * @param {(data: T) => import("./dom.js").Child[]} draw
 * @returns {Promise<void>}
 */
export async function loadPart(place, signal, load, draw) {
  try {
    replace(place, draw(await load()));
  } catch (error) {
    if (!signal.aborted)
      replace(
        place,
        loadError(error, () => loadPart(place, signal, load, draw)),
      );
  }
}

/** Placeholders of content that is loading. @param {string} kind @param {number} count */
export function skeletons(kind, count) {
  return Array.from({ length: count }, () => h(`div.skeleton.${kind}`, { "aria-hidden": "true" }));
}

/** The limit of the services, in characters. */
const MAX_SEARCH = 200;

/** The text to search for. @param {unknown} typed */
export const searchText = (typed) => [...String(typed ?? "").trim()].slice(0, MAX_SEARCH).join("");

/** Whether an event can be booked, with a text about it. @param {Api.EventItem} event */
export function availability(event) {
  /** @param {string} tone @param {string} text */
  const closed = (tone, text) => ({ open: false, tone, text });
  const now = Date.now();
  if (event.status === "cancelled") return closed("bad", t("event.cancelled"));
  if (event.status === "draft") return closed("quiet", t("event.draft"));
  if (Date.parse(event.ends_at) < now) return closed("quiet", t("event.over"));
  if (event.sales_start_at && Date.parse(event.sales_start_at) > now) {
    return closed("quiet", t("event.sales_from", { date: zonedTime(event.sales_start_at, event) }));
  }
  if (Date.parse(event.sales_end_at ?? event.starts_at) < now) return closed("quiet", t("event.sales_over"));
  if (event.available === 0) return closed("bad", t("event.sold_out"));
  const isScarce = event.available <= Math.max(5, event.capacity / 10);
  return {
    ...closed(isScarce ? "warn" : "good", tn(isScarce ? "event.last" : "event.left", event.available)),
    open: true,
  };
}

/** The name of a category, translated if it is a common one. @param {string} category */
export const categoryName = (category) => tOr(`category.${commonCategory(category)}`, category);

/** @param {Api.EventItem} event */
export function eventCard(event) {
  const { tone, text } = availability(event);
  const when = h("time", {
    datetime: event.starts_at,
    title: sameClock(event) ? undefined : t("event.your_time", { time: localEventTime(event) }),
  });
  when.append(zonedTime(event.starts_at, event, { weekday: "short", hour: "numeric", minute: "2-digit" }));
  const cancelled = event.status === "cancelled";
  return h(
    "article.card.event-card",
    h("div.card-cover", cover(event), dateLeaf(event)),
    h(
      "div.card-body",
      h("h2", h("a.stretched", { href: `/events/${event.id}` }, event.title)),
      h("p.meta", when, " · ", event.venue),
      h("p.card-foot", h("strong", cancelled ? "" : price(event)), h(`span.pill.${tone}`, text)),
    ),
  );
}

/** The date as a decoration; the card also has it as text. @param {Api.EventItem} event */
function dateLeaf(event) {
  return h(
    "span.leaf",
    h("span", date(event.starts_at, { month: "short" }, event.time_zone)),
    h("b", date(event.starts_at, { day: "numeric" }, event.time_zone)),
  );
}

/** @param {Api.Booking} booking */
export function bookingState(booking) {
  const { status, payment_status: payment } = booking;
  if (status === "Pending" && booking.expires_at && Date.parse(booking.expires_at) < Date.now()) {
    return { tone: "quiet", text: t("booking.ending") };
  }
  if (booking.refund) {
    const done = payment === "Refunded";
    return { tone: done ? "quiet" : "warn", text: t(done ? "booking.refunded" : "booking.refunding") };
  }
  const tones = { Pending: "warn", Confirmed: "good", Rejected: "bad", Cancelled: "quiet", Expired: "quiet" };
  return { tone: tones[status], text: tOr(`booking.${status}`, status) };
}

/**
 * Opens a dialog, which is removed when it closes.
 * @param {string} title
 * @param {...HTMLElement} content
 */
export function openDialog(title, ...content) {
  const id = uniqueId();
  const dialog = h("dialog", { "aria-labelledby": id }, h("h2", { id }, title), content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks for confirmation. `final` warns that the action cannot be undone.
 * @param {{ title: string, text: string, yes: string, no?: string, danger?: boolean, final?: boolean }} question
 * @returns {Promise<boolean>}
 */
export function confirmDialog({ title, text, yes, no = t("action.back"), danger = false, final = true }) {
  const answers = h(
    "form",
    { method: "dialog" },
    h("p", text, final && ` ${t("action.final")}`),
    h(
      "p.actions",
      h("button.button.plain", { type: "submit", value: "no" }, no),
      h(danger ? "button.button.danger" : "button.button", { type: "submit", value: "yes" }, yes),
    ),
  );
  const dialog = openDialog(title, answers);
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes")));
}

/**
 * Runs `task` while its button is disabled and marked as busy.
 * @template T
 * @param {HTMLButtonElement} button
 * @param {() => Promise<T>} task
 * @returns {Promise<T>}
 */
export async function whileBusy(button, task) {
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    return await task();
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

/** The message box of a form or panel. */
export function alertBox() {
  const box = h("p.alert", { role: "alert", hidden: true });
  return {
    box,
    /** @param {string} [text] hides the box if absent @param {boolean} [isInfo] whether it is no error */
    showMessage(text, isInfo = false) {
      box.hidden = !text;
      box.classList.toggle("calm", isInfo);
      box.setAttribute("role", isInfo ? "status" : "alert");
      box.textContent = text ?? "";
    },
  };
}

/**
 * A button that loads more of a list, and shows errors.
 * @param {string} text
 * @param {() => Promise<void>} load
 */
export function moreButton(text, load) {
  const { box, showMessage } = alertBox();
  const button = h("button.button.plain", text);
  button.addEventListener("click", () => whileBusy(button, load).catch((error) => showMessage(explain(error))));
  return h("div.more", button, box);
}

/** A button with an icon. @param {string} name @param {string} text @param {Record<string, unknown>} props */
export const iconButton = (name, text, props) => h("button.button.plain", props, icon(name), text);
