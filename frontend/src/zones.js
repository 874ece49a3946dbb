// Between what a clock on the wall shows in a time zone and instants in UTC.

const DAY = 86_400_000;

/** @param {number} milliseconds */
const toText = (milliseconds) => new Date(milliseconds).toISOString().replace(".000Z", "Z");

/**
 * What the clock shows, in the form of `<input type="datetime-local">`.
 * @param {string} instant RFC 3339
 * @param {string} zone IANA
 */
export function wallClock(instant, zone) {
  return new Date(Date.parse(instant) + offset(Date.parse(instant), zone)).toISOString().slice(0, 16);
}

/**
 * The instants at which the clock shows `wall`, the earlier first: normally one, two when it is set back, none when it
 * is set forward.
 * @param {string} wall such as `2026-06-12T20:00`
 * @param {string} zone IANA
 */
export function instantsOf(wall, zone) {
  const asIfUtc = Date.parse(`${wall}Z`);
  // No zone is more than a day away from UTC, so these are the offsets before and after any nearby change.
  const offsets = new Set([offset(asIfUtc - DAY, zone), offset(asIfUtc + DAY, zone)]);
  return [...offsets]
    .filter((ahead) => offset(asIfUtc - ahead, zone) === ahead)
    .map((ahead) => asIfUtc - ahead)
    .sort((a, b) => a - b)
    .map(toText);
}

/**
 * The instant that `wall` means: the earlier one if the clock shows it twice. If the clock skips it, the instant is
 * later by as much as the clock skips.
 * @param {string} wall such as `2026-06-12T20:00`
 * @param {string} zone IANA
 */
export function instantOf(wall, zone) {
  const [first] = instantsOf(wall, zone);
  if (first) return first;
  const asIfUtc = Date.parse(`${wall}Z`);
  return toText(asIfUtc - offset(asIfUtc - DAY, zone));
}

/** How far the zone is ahead of UTC, such as `UTC+05:30`. @param {string} instant @param {string} zone IANA */
export function offsetName(instant, zone) {
  const minutes = Math.round(offset(Date.parse(instant), zone) / 60_000);
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return `UTC${minutes < 0 ? "\u2212" : "+"}${two(hours)}:${two(rest)}`;
}

/**
 * `wall`, moved by as much as the clock shows between two others.
 * @param {string} wall
 * @param {string} from
 * @param {string} to
 */
export function moved(wall, from, to) {
  const at = Date.parse(`${wall}Z`) + Date.parse(`${to}Z`) - Date.parse(`${from}Z`);
  return new Date(at).toISOString().slice(0, 16);
}

/**
 * Milliseconds that the zone is ahead of UTC.
 * @param {number} milliseconds
 * @param {string} zone
 */
function offset(milliseconds, zone) {
  const parts = new Intl.DateTimeFormat("en", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  }).formatToParts(milliseconds);
  /** @param {string} type */
  const part = (type) => Number(parts.find((candidate) => candidate.type === type)?.value);
  const shown = new Date(0);
  // Unlike Date.UTC, these do not read the years 0 to 99 as 1900 to 1999.
  shown.setUTCFullYear(part("year"), part("month") - 1, part("day"));
  shown.setUTCHours(part("hour"), part("minute"), part("second"));
  return shown.getTime() - Math.floor(milliseconds / 1000) * 1000;
}
