// "Add to calendar": an event as an iCalendar file (RFC 5545).
import { h } from "./dom.js";

/** @param {Api.EventItem} event */
export function downloadCalendar(event) {
  const url = URL.createObjectURL(new Blob([icalendar(event)], { type: "text/calendar" }));
  h("a", { href: url, download: `${event.title.replace(/[^\p{L}\p{N}]+/gu, "-")}.ics` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** @param {Api.EventItem} event */
function icalendar(event) {
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Event Booking Platform//EN",
    "BEGIN:VEVENT",
    `UID:${event.id}@${location.hostname}`,
    `DTSTAMP:${stamp(new Date().toISOString())}`,
    `DTSTART:${stamp(event.starts_at)}`,
    `DTEND:${stamp(event.ends_at)}`,
    `SUMMARY:${escape(event.title)}`,
    `LOCATION:${escape(event.venue)}`,
    `DESCRIPTION:${escape(event.description)}`,
    `URL:${location.origin}/events/${event.id}`,
    "END:VEVENT",
    "END:VCALENDAR",
  ];
  return lines.map(fold).join("\r\n") + "\r\n";
}

/** @param {string} instant */
const stamp = (instant) => new Date(instant).toISOString().replace(/[-:]|\.\d+/g, "");

/** @param {string} text */
const escape = (text) => text.replace(/[\\;,]/g, "\\$&").replace(/\r?\n/g, "\\n");

/** Lines have at most 75 octets; a character takes at most 4 of them. @param {string} line */
function fold(line) {
  if (new TextEncoder().encode(line).length <= 75) return line;
  return (line.match(/.{1,18}/gsu) ?? []).join("\r\n ");
}
