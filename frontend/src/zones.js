// Converts between local times of a time zone (wall clock times) and instants in UTC.

const DAY = 86_400_000;

/** @param {number} milliseconds */
const toText = (milliseconds) => new Date(milliseconds).toISOString().replace(".000Z", "Z");

/**
 * The local time of an instant, as `<input type="datetime-local">` has it.
 * @param {string} instant RFC 3339
 * @param {string} zone IANA
 */
export function wallClock(instant, zone) {
  return new Date(Date.parse(instant) + offset(Date.parse(instant), zone)).toISOString().slice(0, 16);
}

/**
 * The instants with the local time `wall`, in order: normally one, two when clocks are set back, none when they are set
 * forward.
 * @param {string} wall such as `2026-06-12T20:00`
 * @param {string} zone IANA
 */
export function instantsOf(wall, zone) {
  const asIfUtc = Date.parse(`${wall}Z`);
  // No offset exceeds a day, so these are the offsets before and after any change of the clocks nearby.
  const offsets = new Set([offset(asIfUtc - DAY, zone), offset(asIfUtc + DAY, zone)]);
  return [...offsets]
    .filter((ahead) => offset(asIfUtc - ahead, zone) === ahead)
    .map((ahead) => asIfUtc - ahead)
    .sort((a, b) => a - b)
    .map(toText);
}

/**
 * The instant of the local time `wall`: the earlier one of two; if clocks skip the time, the instant is later by the
 * skipped duration.
 * @param {string} wall such as `2026-06-12T20:00`
 * @param {string} zone IANA
 */
export function instantOf(wall, zone) {
  const [first] = instantsOf(wall, zone);
  if (first) return first;
  const asIfUtc = Date.parse(`${wall}Z`);
  return toText(asIfUtc - offset(asIfUtc - DAY, zone));
}

/** The offset of the zone, such as `UTC+05:30`. @param {string} instant @param {string} zone IANA */
export function offsetName(instant, zone) {
  const minutes = Math.round(offset(Date.parse(instant), zone) / 60_000);
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return `UTC${minutes < 0 ? "\u2212" : "+"}${two(hours)}:${two(rest)}`;
}

/**
 * `wall`, shifted by the difference between two other local times.
 * @param {string} wall
 * @param {string} from
 * @param {string} to
 */
export function shiftWallClock(wall, from, to) {
  const shifted = Date.parse(`${wall}Z`) + Date.parse(`${to}Z`) - Date.parse(`${from}Z`);
  return new Date(shifted).toISOString().slice(0, 16);
}

/**
 * The offset of the zone from UTC, in milliseconds.
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
  // Unlike Date.UTC, these setters do not map the years 0 to 99 to 1900 to 1999.
  shown.setUTCFullYear(part("year"), part("month") - 1, part("day"));
  shown.setUTCHours(part("hour"), part("minute"), part("second"));
  return shown.getTime() - Math.floor(milliseconds / 1000) * 1000;
}
