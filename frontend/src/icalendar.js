// An event as an iCalendar file (RFC 5545).

const LINE_OCTETS = 75;

/** @param {Api.EventItem} event @param {string} origin of the site */
export function icalendar(event, origin) {
  const status = { draft: "TENTATIVE", published: "CONFIRMED", cancelled: "CANCELLED" }[event.status];
  const revised = stamp(event.updated_at);
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Event Booking Platform//EN",
    "BEGIN:VEVENT",
    `UID:${event.id}`,
    // In a file that is not an invitation, both properties are the time of the last revision.
    `DTSTAMP:${revised}`,
    `LAST-MODIFIED:${revised}`,
    `SEQUENCE:${event.version}`,
    `STATUS:${status}`,
    `DTSTART:${stamp(event.starts_at)}`,
    `DTEND:${stamp(event.ends_at)}`,
    `SUMMARY:${escape(event.title)}`,
    `LOCATION:${escape(event.venue)}`,
    `DESCRIPTION:${escape(event.description)}`,
    `URL:${origin}/events/${event.id}`,
    "END:VEVENT",
    "END:VCALENDAR",
  ];
  return lines.map(fold).join("\r\n") + "\r\n";
}

/** @param {string} instant */
const stamp = (instant) => new Date(instant).toISOString().replace(/[-:]|\.\d+/g, "");

/** Escapes a text and removes characters that the format forbids. @param {string} text */
const escape = (text) =>
  text
    .replace(/[\\;,]/g, "\\$&")
    .replace(/\r\n|[\r\n\v\f\u0085\u2028\u2029]/g, "\\n")
    .replace(/(?!\t)\p{Cc}/gu, "");

/** Folds a long line without splitting a character. @param {string} line */
function fold(line) {
  const encoder = new TextEncoder();
  let [folded, length] = ["", 0];
  for (const character of line) {
    const size = encoder.encode(character).length;
    if (length + size > LINE_OCTETS) {
      folded += "\r\n ";
      length = 1;
    }
    folded += character;
    length += size;
  }
  return folded;
}
