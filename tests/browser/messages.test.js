// Messages in the corner, and focus and scroll position after the back button.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { Person, goHome, journey, unique, visit } from "./people.js";

const title = unique("Paper moons");
let event = "";

before(async () => {
  const organizer = await Person.arrives();
  await organizer.registers("organizer");
  event = await organizer.publishes({ title, capacity: 200 });
  await organizer.leaves();
});
after(goHome);

/** The messages that stand now. @param {Person} person */
const messages = (person) => person.page.locator(".toast");

journey("a message covers no main button, wherever the page is scrolled, and is closed", async (person) => {
  const { page } = person;
  await person.registers();
  await page.goto(`/events/${event}`);
  await person.button(/^Reserve/).waitFor();
  await person.context.grantPermissions(["clipboard-write"]);
  await page.evaluate(() => Reflect.deleteProperty(Navigator.prototype, "share"));
  await person.button("Share").click();
  await messages(person).waitFor();
  for (const y of [0, 150, 300, 450, 600]) {
    await page.evaluate((to) => scrollTo(0, to), y);
    await page.waitForFunction(() => {
      const box = (/** @type {Element} */ part) => part.getBoundingClientRect();
      const toast = document.querySelector(".toast");
      const buttons = [...document.querySelectorAll(".button:not(.plain)")].filter((one) => one.checkVisibility());
      const apart = (/** @type {DOMRect} */ a, /** @type {DOMRect} */ b) =>
        a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
      return toast && buttons.length > 0 && buttons.every((one) => apart(box(toast), box(one)));
    });
  }
  await page.mouse.move(0, 0);
  await messages(person).getByRole("button", { name: "Close" }).click();

  assert.equal(await messages(person).count(), 0);
});

visit("one cancellation is one message, and neither a failure nor a success", async (person) => {
  const { page } = person;
  await person.registers();
  await person.reserves(event);
  await person.paysWith("Payment succeeds");
  await person.sees("You’re in!");
  // The page itself says so.
  await page.getByRole("link", { name: "Notifications, 1 unread" }).waitFor();
  assert.equal(await messages(person).count(), 0);
  const other = await person.context.newPage();
  await other.goto("/");
  await other.getByRole("link", { name: "Notifications, 1 unread" }).waitFor();
  await person.button("Cancel booking").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();
  await messages(person).waitFor();
  await other.getByRole("link", { name: "Notifications, 3 unread" }).waitFor({ timeout: 40_000 });

  assert.equal(await messages(person).count(), 1);
  assert.equal(await other.locator(".toast").count(), 1);
});

visit("a booking that ran out is told in the tone of a failure", async (person) => {
  const { page } = person;
  await person.registers();
  await page.route(/\/notifications\/\d+\/stream/, (route) =>
    route.fulfill({
      contentType: "text/event-stream",
      body: [
        'event: ready\nid: 0\nretry: 60000\ndata: {"last_seq":0,"unread_count":0}\n\n',
        `event: notification\nid: 1\ndata: ${JSON.stringify({
          id: "0197c5a0-0000-7000-8000-000000000001",
          seq: 1,
          type: "booking.expired",
          booking_id: 1,
          event_id: "e",
          title: "Booking expired",
          body: "Too late.",
          read_at: null,
          created_at: new Date().toISOString(),
        })}\n\n`,
      ].join(""),
    }),
  );
  await page.goto("/");

  await page.locator(".toast.bad").filter({ hasText: "Booking expired" }).waitFor();
});

journey("the back button leads to where one was, focus included", async (person) => {
  const { page } = person;
  await page.goto("/?q=" + encodeURIComponent(title));
  const link = page.getByRole("link", { name: title });
  await link.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: title }).waitFor();
  await page.goBack();
  await link.waitFor();

  await page.waitForFunction((name) => document.activeElement?.textContent === name, title);
});
