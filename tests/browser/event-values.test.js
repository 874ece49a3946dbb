// The event form sends edited values only.
import assert from "node:assert/strict";
import { test } from "node:test";
import { changedValues, toEventValues } from "../../frontend/src/event-values.js";

/** @type {Api.EventItem} */
const EVENT = {
  id: "e1",
  title: "Late night",
  description: "First line\r\nsecond  ",
  venue: "The Old Mill",
  time_zone: "Europe/Berlin",
  // The second of two instants with the local time 02:30.
  starts_at: "2027-10-31T01:30:00Z",
  ends_at: "2027-10-31T04:00:12.345Z",
  capacity: 50,
  available: 50,
  price: 1250,
  currency: "EUR",
  category: null,
  image_url: null,
  sales_start_at: null,
  sales_end_at: "2027-10-31T00:30:00Z",
  max_seats_per_booking: 10,
  organizer_id: 7,
  status: "published",
  version: 3,
  updated_at: "2027-01-01T00:00:00Z",
};

const SHOWN = {
  title: "Late night",
  description: "First line\nsecond  ",
  category: "",
  image_url: "",
  starts_at: "2027-10-31T02:30",
  ends_at: "2027-10-31T05:00",
  time_zone: "Europe/Berlin",
  venue: "The Old Mill",
  capacity: "50",
  max_seats_per_booking: "10",
  max_seats_per_person: "",
  price: "12.50",
  currency: "EUR",
  sales_start_at: "",
  sales_end_at: "2027-10-31T02:30",
};

/** @param {Partial<typeof SHOWN>} edits @param {Partial<Api.EventItem>} [event] */
const sent = (edits, event) => {
  const whole = { ...EVENT, ...event };
  return changedValues(toEventValues({ ...SHOWN, ...edits }, { event: whole, texts: SHOWN }), whole);
};

test("without edits nothing is sent", () => {
  assert.deepEqual(sent({}), {});
});

test("an edited venue does not change the times, not even in a repeated hour", () => {
  assert.deepEqual(sent({ venue: " The barn " }), { venue: "The barn" });
  assert.deepEqual(sent({ title: "Later" }, { starts_at: "2027-10-31T00:30:00Z" }), { title: "Later" });
});

test("an edited time in a repeated hour is the earlier one", () => {
  assert.deepEqual(sent({ starts_at: "2027-10-31T02:15" }), { starts_at: "2027-10-31T00:15:00Z" });
});

test("a time that is edited back is unchanged", () => {
  const before = { event: EVENT, texts: SHOWN };
  assert.equal(toEventValues({ ...SHOWN, starts_at: "2027-10-31T02:30" }, before).starts_at, EVENT.starts_at);
});

test("another time zone changes only the instants whose local time differs in it", () => {
  assert.deepEqual(sent({ time_zone: "Europe/Paris" }), { time_zone: "Europe/Paris" });
  assert.deepEqual(sent({ time_zone: "Europe/Lisbon" }), {
    time_zone: "Europe/Lisbon",
    starts_at: "2027-10-31T02:30:00Z",
    ends_at: "2027-10-31T05:00:00Z",
    sales_end_at: "2027-10-31T02:30:00Z",
  });
});

test("the price follows the decimals of its currency", () => {
  assert.deepEqual(sent({ price: "99" }), { price: 9900 });
  assert.deepEqual(sent({ currency: "KWD" }), { price: 12_500, currency: "KWD" });
  assert.deepEqual(sent({ currency: "USD" }), { currency: "USD" });
  assert.deepEqual(sent({ price: "99999999", currency: "JPY" }), { price: 99_999_999, currency: "JPY" });
});

test("an emptied field is cleared", () => {
  assert.deepEqual(sent({ sales_end_at: "", description: "" }), { sales_end_at: null, description: "" });
  assert.deepEqual(sent({ category: "" }, { category: "music" }), {});
  assert.deepEqual(sent({ category: "film" }, { category: "music" }), { category: "film" });
});

test("the limit per person is set and removed", () => {
  const limited = { max_seats_per_person: 4 };
  assert.deepEqual(sent({ max_seats_per_person: "4" }), limited);
  assert.equal(toEventValues({ ...SHOWN, max_seats_per_person: "" }, null).max_seats_per_person, null);
  assert.equal(toEventValues({ ...SHOWN, max_seats_per_person: "4" }, null).max_seats_per_person, 4);
  const texts = { ...SHOWN, max_seats_per_person: "4" };
  const event = { ...EVENT, ...limited };
  const lifted = toEventValues({ ...texts, max_seats_per_person: "" }, { event, texts });
  assert.deepEqual(changedValues(lifted, event), { max_seats_per_person: null });
});

test("a new event has all values of the form", () => {
  assert.deepEqual(toEventValues({ ...SHOWN, title: " Night " }, null), {
    title: "Night",
    description: "First line\nsecond",
    category: null,
    image_url: null,
    starts_at: "2027-10-31T00:30:00Z",
    ends_at: "2027-10-31T04:00:00Z",
    time_zone: "Europe/Berlin",
    venue: "The Old Mill",
    capacity: 50,
    max_seats_per_booking: 10,
    max_seats_per_person: null,
    price: 1250,
    currency: "EUR",
    sales_start_at: null,
    sales_end_at: "2027-10-31T00:30:00Z",
  });
});
