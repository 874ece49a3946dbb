// Server-sent events: the unread count and each new notification.
import { get, post, refresh, sessionHint } from "./api.js";
import { currentUser } from "./session.js";
import { toast } from "./toast.js";

/** Fires `count` when the unread count changes and `notification` (a CustomEvent) for each new one. */
export const liveEvents = new EventTarget();

/** By type of notification: the icon and the tone of its message. @type {Record<string, [string, "good" | "info" | "bad"]>} */
const APPEARANCES = {
  "booking.confirmed": ["check", "good"],
  "booking.cancelled": ["minus", "info"],
  "booking.refunded": ["ticket", "good"],
  "booking.expired": ["clock", "bad"],
  "event.changed": ["calendar", "info"],
  "event.cancelled": ["warning", "bad"],
};

let unread = 0;
/** @type {EventSource | undefined} */
let stream;
/** The user of the stream. */
let streamUser = 0;
/** The id of the last received event, after which a new connection continues. */
let last = "";
let retryMs = 1000;
let timer = 0;

export const unreadCount = () => unread;

/** @param {number} count */
export function setUnread(count) {
  unread = Math.max(0, count);
  liveEvents.dispatchEvent(new Event("count"));
}

/** Connects the stream of the current user while the page is visible, because browsers limit open connections. */
export function restartStream() {
  clearTimeout(timer);
  stream?.close();
  stream = undefined;
  const user = currentUser();
  if (user?.id !== streamUser) last = "";
  streamUser = user?.id ?? 0;
  if (!user) return setUnread(0);
  if (!document.hidden) connect(user.id);
}

/** @param {number} userId */
async function loadUnread(userId) {
  try {
    const page = await get(`/notifications/${userId}`, { query: { limit: 1 } });
    if (currentUser()?.id === userId) setUnread(page.unread_count);
  } catch {
    // The next notification or visit updates the count.
  }
}

/** @param {number} userId */
function connect(userId) {
  // The stream starts with the events that were missed without a connection.
  const source = new EventSource(`/notifications/${userId}/stream${last && `?last_event_id=${last}`}`);
  stream = source;
  let counted = 0;
  source.addEventListener("ready", ({ data, lastEventId }) => {
    retryMs = 1000;
    last ||= lastEventId;
    const { last_seq: seq, unread_count: n } = JSON.parse(data);
    counted = seq;
    setUnread(n);
  });
  source.addEventListener("notification", ({ data, lastEventId }) => {
    if (Number(lastEventId) <= Number(last)) return;
    last = lastEventId;
    if (Number(lastEventId) > counted) setUnread(unread + 1);
    showNotification(JSON.parse(data));
  });
  source.addEventListener("error", () => {
    // The browser reconnects a dropped connection, but not a refused one.
    if (source.readyState !== EventSource.CLOSED || stream !== source) return;
    void loadUnread(userId);
    reconnect();
  });
}

/** Refreshes the session first, because a connection is mostly refused when the cookie expired. */
function reconnect() {
  timer = setTimeout(async () => {
    try {
      if (sessionHint() && !(await refresh())) return;
    } catch {
      // user-service is unavailable; try again later.
    }
    restartStream();
  }, retryMs);
  retryMs = Math.min(retryMs * 2, 60_000);
}

/** @param {Api.Notification} notification */
function showNotification(notification) {
  const { type, title, body, event_id: event } = notification;
  const [symbol, tone] = appearanceOf(type);
  const href = hrefOf(notification);
  // The page of the booking shows the result itself.
  const isOnPage = type.startsWith("booking.") && location.pathname === href;
  if (!isOnPage) toast(title, { detail: body, href, symbol, tone, topic: event ?? undefined });
  liveEvents.dispatchEvent(new CustomEvent("notification", { detail: notification }));
}

/** The icon and the tone of a type of notification. @param {string} type */
export const appearanceOf = (type) => APPEARANCES[type] ?? ["bell", "info"];

/**
 * Calls `listener` for each new notification, until `signal` aborts.
 * @param {(notification: Api.Notification) => unknown} listener
 * @param {AbortSignal} signal
 */
export function onNotification(listener, signal) {
  const listen = (/** @type {Event} */ received) => listener(/** @type {CustomEvent} */ (received).detail);
  liveEvents.addEventListener("notification", listen, { signal });
}

/** The page that a notification links to. @param {Api.Notification} notification */
export function hrefOf({ booking_id: booking, event_id: event }) {
  if (booking !== null) return `/me/bookings/${booking}`;
  return event === null ? "/me/notifications" : `/events/${event}`;
}

/** @param {Api.Notification} notification */
export async function markRead(notification) {
  const user = currentUser();
  if (!user || notification.read_at) return;
  notification.read_at = new Date().toISOString();
  setUnread(unread - 1);
  await post(`/notifications/${user.id}/${notification.id}/read`);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) restartStream();
  else timer = setTimeout(() => stream?.close(), 20_000);
});
