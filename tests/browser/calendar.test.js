// The calendar file of an event.
import assert from "node:assert/strict";
import { test } from "node:test";
import { icalendar } from "../../frontend/src/icalendar.js";

/** @type {Api.EventItem} */
const EVENT = {
  id: "0197b0c2-4a51-7c3e-9b62-3f1f0a9f7d10",
  title: "Jazz, late; loud \\ free",
  description: "One\r\ntwo\rthree\nfour",
  venue: "The Old Mill",
  time_zone: "Europe/Berlin",
  starts_at: "2027-06-12T18:00:00Z",
  ends_at: "2027-06-12T21:00:00.000Z",
  capacity: 50,
  available: 50,
  price: 0,
  currency: "EUR",
  organizer_id: 7,
  status: "published",
  version: 12,
  updated_at: "2027-05-01T10:20:30.456Z",
};

/** The properties of the file, unfolded. @param {Partial<Api.EventItem>} [fields] */
function properties(fields) {
  const unfolded = icalendar({ ...EVENT, ...fields }, "https://example.org").replaceAll("\r\n ", "");
  return Object.fromEntries(
    unfolded
      .split("\r\n")
      .filter(Boolean)
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]),
  );
}

test("a calendar file has the times and the revision of its event", () => {
  const read = properties();
  assert.equal(read.UID, EVENT.id);
  assert.equal(read.DTSTART, "20270612T180000Z");
  assert.equal(read.DTEND, "20270612T210000Z");
  assert.equal(read.SEQUENCE, "12");
  assert.equal(read["LAST-MODIFIED"], "20270501T102030Z");
  assert.equal(read.DTSTAMP, "20270501T102030Z");
  assert.equal(read.STATUS, "CONFIRMED");
  assert.equal(read.URL, `https://example.org/events/${EVENT.id}`);
});

test("a cancelled event has the status CANCELLED", () => {
  assert.equal(properties({ status: "cancelled" }).STATUS, "CANCELLED");
});

test("line breaks and control characters in texts are escaped", () => {
  const read = properties();
  assert.equal(read.SUMMARY, "Jazz\\, late\\; loud \\\\ free");
  assert.equal(read.DESCRIPTION, "One\\ntwo\\nthree\\nfour");
  const odd = properties({ description: "a\u2028b\u0085c\u000bd", venue: "x\u0000\u001b\u007f\u009b\ty" });
  assert.equal(odd.DESCRIPTION, "a\\nb\\nc\\nd");
  assert.equal(odd.LOCATION, "x\ty");
  const forged = icalendar({ ...EVENT, description: "x\rATTENDEE:mailto:a@b.example" }, "https://example.org");
  assert.doesNotMatch(forged, /[\r\n]ATTENDEE/);
  assert.doesNotMatch(forged, /\r(?!\n)|(?<!\r)\n/);
});

test("lines have at most 75 octets and split no character", () => {
  const description = "Füße 🎷 日本語 ".repeat(40) + "x".repeat(300);
  const file = icalendar({ ...EVENT, description }, "https://example.org");
  const lines = file.split("\r\n");
  assert.ok(lines.every((line) => new TextEncoder().encode(line).length <= 75));
  assert.ok(
    lines.some((line) => new TextEncoder().encode(line).length > 72),
    "lines are filled",
  );
  assert.equal(properties({ description }).DESCRIPTION, description);
});
