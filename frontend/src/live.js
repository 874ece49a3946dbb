// Notifications as they happen: the unread count and each new notification, over server-sent events.
import { get, post, refresh, sessionHint } from "./api.js";
import { currentUser } from "./session.js";
import { toast } from "./toast.js";

/** Fires `count` when the unread count changes and `notification` (a CustomEvent) for each new one. */
export const liveEvents = new EventTarget();

/** How each kind of notification looks: its icon, and its tone as a message. @type {Record<string, [string, "good" | "info" | "bad"]>} */
const LOOKS = {
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
/** Whose stream it is. */
let owner = 0;
/** The last event of the owner's stream, after which a new connection continues. */
let last = "";
let retryMs = 1000;
let timer = 0;

export const unreadCount = () => unread;

/** @param {number} count */
export function setUnread(count) {
  unread = Math.max(0, count);
  liveEvents.dispatchEvent(new Event("count"));
}

/** Follows whoever is logged in now, while the page is on screen: browsers allow few open connections. */
export function follow() {
  clearTimeout(timer);
  stream?.close();
  stream = undefined;
  const user = currentUser();
  if (user?.id !== owner) last = "";
  owner = user?.id ?? 0;
  if (!user) return setUnread(0);
  if (!document.hidden) connect(user.id);
}

/** @param {number} userId */
async function count(userId) {
  try {
    const page = await get(`/notifications/${userId}`, { query: { limit: 1 } });
    if (currentUser()?.id === userId) setUnread(page.unread_count);
  } catch {
    // The bell can wait: the next notification or visit brings the count.
  }
}

/** @param {number} userId */
function connect(userId) {
  // Events from the time without a connection are sent first.
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
    arrive(JSON.parse(data));
  });
  source.addEventListener("error", () => {
    // A dropped connection comes back by itself; a refused one does not.
    if (source.readyState !== EventSource.CLOSED || stream !== source) return;
    void count(userId);
    comeBack();
  });
}

/** The usual reason is that the session's cookie ran out. */
function comeBack() {
  timer = setTimeout(async () => {
    try {
      if (sessionHint() && !(await refresh())) return;
    } catch {
      // user-service is away: try again later.
    }
    follow();
  }, retryMs);
  retryMs = Math.min(retryMs * 2, 60_000);
}

/** @param {Api.Notification} notification */
function arrive(notification) {
  const { type, title, body, event_id: event } = notification;
  const [symbol, tone] = looksOf(type);
  const href = hrefOf(notification);
  // The booking's own page shows the result itself.
  const shown = type.startsWith("booking.") && location.pathname === href;
  if (!shown) toast(title, { detail: body, href, symbol, tone, about: event ?? undefined });
  liveEvents.dispatchEvent(new CustomEvent("notification", { detail: notification }));
}

/** The icon and the tone of a kind of notification. @param {string} type */
export const looksOf = (type) => LOOKS[type] ?? ["bell", "info"];

/**
 * Calls `listener` for each notification that arrives, until `signal`.
 * @param {(notification: Api.Notification) => unknown} listener
 * @param {AbortSignal} signal
 */
export function onNotification(listener, signal) {
  const listen = (/** @type {Event} */ arrived) => listener(/** @type {CustomEvent} */ (arrived).detail);
  liveEvents.addEventListener("notification", listen, { signal });
}

/** Where a notification leads. @param {Api.Notification} notification */
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
  if (!document.hidden) follow();
  else timer = setTimeout(() => stream?.close(), 20_000);
});
