// Between what a clock on the wall shows in a time zone and instants in UTC.

/**
 * What the clock shows, in the form of `<input type="datetime-local">`.
 * @param {string} instant RFC 3339
 * @param {string} zone IANA
 */
export function wallClock(instant, zone) {
  return new Date(Date.parse(instant) + offset(Date.parse(instant), zone)).toISOString().slice(0, 16);
}

/**
 * The instant at which the clock shows `wall`. In the hour that a clock skips in spring, the time just after it.
 * @param {string} wall such as `2026-06-12T20:00`
 * @param {string} zone IANA
 */
export function instantOf(wall, zone) {
  const asIfUtc = Date.parse(`${wall}Z`);
  const guess = asIfUtc - offset(asIfUtc, zone);
  return new Date(asIfUtc - offset(guess, zone)).toISOString().replace(".000Z", "Z");
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
  const shown = Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second"));
  return shown - Math.floor(milliseconds / 1000) * 1000;
}
