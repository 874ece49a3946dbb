// Conversion between local times and instants.
import assert from "node:assert/strict";
import { test } from "node:test";
import { instantOf, instantsOf, shiftWallClock, offsetName, wallClock } from "../../frontend/src/zones.js";

test("local times and instants convert into each other", () => {
  for (const [wall, zone, instant] of [
    ["2026-06-12T20:00", "Europe/Berlin", "2026-06-12T18:00:00Z"],
    ["2026-12-12T20:00", "Europe/Berlin", "2026-12-12T19:00:00Z"],
    ["2026-01-01T00:15", "Pacific/Kiritimati", "2025-12-31T10:15:00Z"],
    ["2026-07-01T09:30", "Asia/Kathmandu", "2026-07-01T03:45:00Z"],
    ["2026-11-01T12:00", "America/New_York", "2026-11-01T17:00:00Z"],
    ["2026-03-29T12:00", "Pacific/Pago_Pago", "2026-03-29T23:00:00Z"],
  ]) {
    assert.equal(instantOf(wall, zone), instant);
    assert.deepEqual(instantsOf(wall, zone), [instant]);
    assert.equal(wallClock(instant, zone), wall);
  }
});

test("a skipped local time moves forward by the skipped duration", () => {
  for (const [wall, zone, instant, shown] of [
    ["2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:30:00Z", "2026-03-29T03:30"],
    ["2026-03-08T02:00", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T03:00"],
    ["2026-03-29T01:00", "Europe/London", "2026-03-29T01:00:00Z", "2026-03-29T02:00"],
    ["2026-03-29T00:30", "Atlantic/Azores", "2026-03-29T01:30:00Z", "2026-03-29T01:30"],
    // In the southern hemisphere, by half an hour, and at midnight.
    ["2026-10-04T02:30", "Australia/Sydney", "2026-10-03T16:30:00Z", "2026-10-04T03:30"],
    ["2026-10-04T02:15", "Australia/Lord_Howe", "2026-10-03T15:45:00Z", "2026-10-04T02:45"],
    ["2026-03-29T00:30", "Asia/Beirut", "2026-03-28T22:30:00Z", "2026-03-29T01:30"],
    ["2026-04-24T00:15", "Africa/Cairo", "2026-04-23T22:15:00Z", "2026-04-24T01:15"],
    ["2024-10-06T00:00", "America/Asuncion", "2024-10-06T04:00:00Z", "2024-10-06T01:00"],
    ["2026-09-06T00:30", "America/Santiago", "2026-09-06T04:30:00Z", "2026-09-06T01:30"],
    // A whole day.
    ["2011-12-30T12:00", "Pacific/Apia", "2011-12-30T22:00:00Z", "2011-12-31T12:00"],
  ]) {
    assert.deepEqual(instantsOf(wall, zone), [], `${wall} ${zone}`);
    assert.equal(instantOf(wall, zone), instant, `${wall} ${zone}`);
    assert.equal(wallClock(instant, zone), shown);
  }
});

test("of a repeated local time the earlier instant is meant", () => {
  for (const [wall, zone, earlier, later] of [
    ["2027-10-31T02:30", "Europe/Berlin", "2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"],
    ["2026-11-01T01:30", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"],
    ["2026-04-05T02:15", "Australia/Sydney", "2026-04-04T15:15:00Z", "2026-04-04T16:15:00Z"],
    ["2026-04-05T01:45", "Australia/Lord_Howe", "2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"],
    ["2026-10-24T23:30", "Asia/Beirut", "2026-10-24T20:30:00Z", "2026-10-24T21:30:00Z"],
    ["2026-10-29T23:59", "Africa/Cairo", "2026-10-29T20:59:00Z", "2026-10-29T21:59:00Z"],
  ]) {
    assert.deepEqual(instantsOf(wall, zone), [earlier, later], `${wall} ${zone}`);
    assert.equal(instantOf(wall, zone), earlier);
    assert.equal(wallClock(later, zone), wall);
  }
});

test("every local time converts to an instant with that time, or to one after a gap", () => {
  const zones = ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Tehran", "Africa/Casablanca"];
  for (const zone of zones) {
    for (let hour = 0; hour < 24 * 365; hour += 5) {
      const wall = new Date(Date.UTC(2027, 0, 1, hour, 30)).toISOString().slice(0, 16);
      const [shown, count] = [wallClock(instantOf(wall, zone), zone), instantsOf(wall, zone).length];
      assert.ok(count ? shown === wall : shown > wall, `${wall} ${zone}`);
    }
  }
});

test("an offset is formatted", () => {
  assert.equal(offsetName("2027-10-31T00:30:00Z", "Europe/Berlin"), "UTC+02:00");
  assert.equal(offsetName("2027-10-31T01:30:00Z", "Europe/Berlin"), "UTC+01:00");
  assert.equal(offsetName("2027-01-01T00:00:00Z", "America/St_Johns"), "UTC\u221203:30");
  assert.equal(offsetName("2027-01-01T00:00:00Z", "Asia/Kathmandu"), "UTC+05:45");
});

test("a local time is shifted by the difference of two others", () => {
  assert.equal(shiftWallClock("2026-06-12T23:00", "2026-06-12T20:00", "2026-07-31T20:30"), "2026-07-31T23:30");
  assert.equal(shiftWallClock("2026-06-13T02:00", "2026-06-12T20:00", "2026-06-12T18:00"), "2026-06-13T00:00");
  assert.equal(shiftWallClock("2026-06-12T23:00", "2026-06-12T20:00", "0002-06-12T20:00"), "0002-06-12T23:00");
  assert.equal(wallClock(instantOf("0002-06-12T20:00", "UTC"), "UTC"), "0002-06-12T20:00");
});
