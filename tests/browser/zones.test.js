// The arithmetic of the site that has no page: clocks on the wall and instants.
import assert from "node:assert/strict";
import { test } from "node:test";
import { instantOf, wallClock } from "../../frontend/src/zones.js";

test("a clock on the wall and an instant agree, in summer, in winter and east of everything", () => {
  for (const [wall, zone, instant] of [
    ["2026-06-12T20:00", "Europe/Berlin", "2026-06-12T18:00:00Z"],
    ["2026-12-12T20:00", "Europe/Berlin", "2026-12-12T19:00:00Z"],
    ["2026-01-01T00:15", "Pacific/Kiritimati", "2025-12-31T10:15:00Z"],
    ["2026-07-01T09:30", "Asia/Kathmandu", "2026-07-01T03:45:00Z"],
    ["2026-11-01T12:00", "America/New_York", "2026-11-01T17:00:00Z"],
  ]) {
    assert.equal(instantOf(wall, zone), instant);
    assert.equal(wallClock(instant, zone), wall);
  }
});

test("an hour that a clock skips becomes an instant beside it", () => {
  assert.equal(wallClock(instantOf("2026-03-29T02:30", "Europe/Berlin"), "Europe/Berlin").slice(0, 10), "2026-03-29");
});
