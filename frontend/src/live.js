// Notifications as they happen: the unread count and each new notification, over server-sent events.
import { get, post, refresh, sessionHint } from "./api.js";
import { toast } from "./dom.js";
import { currentUser } from "./session.js";

/** Fires `count` when the unread count changes and `notification` (a CustomEvent) for each new one. */
export const liveEvents = new EventTarget();

let unread = 0;
/** @type {EventSource | undefined} */
let stream;
/** @type {Set<string>} */
const seen = new Set();
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
  if (!user) return setUnread(0);
  if (document.hidden) return;
  void count(user.id);
  connect(user.id);
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
  const source = new EventSource(`/notifications/${userId}/stream`);
  stream = source;
  source.addEventListener("open", () => (retryMs = 1000));
  source.addEventListener("notification", ({ data }) => arrive(JSON.parse(data)));
  source.addEventListener("error", () => {
    // A dropped connection comes back by itself; a refused one does not.
    if (source.readyState === EventSource.CLOSED && stream === source) comeBack();
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
  if (seen.has(notification.id)) return;
  seen.add(notification.id);
  setUnread(unread + 1);
  toast(notification.title, { detail: notification.body, href: hrefOf(notification) });
  liveEvents.dispatchEvent(new CustomEvent("notification", { detail: notification }));
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
