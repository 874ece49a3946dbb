// Messages in the corner, and the focus after the back button.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { User, closeBrowser, journey, unique, browserTest } from "./user.js";

const title = unique("Paper moons");
let event = "";

before(async () => {
  const organizer = await User.open();
  await organizer.register("organizer");
  event = await organizer.publish({ title, capacity: 200 });
  await organizer.close();
});
after(closeBrowser);

/** The visible messages. @param {User} user */
const messages = (user) => user.page.locator(".toast");

journey("a message never covers a main button, and can be closed", async (user) => {
  const { page } = user;
  await user.register();
  await page.goto(`/events/${event}`);
  await user.button(/^Reserve/).waitFor();
  await user.context.grantPermissions(["clipboard-write"]);
  await page.evaluate(() => Reflect.deleteProperty(Navigator.prototype, "share"));
  await user.button("Share").click();
  await messages(user).waitFor();
  for (const y of [0, 150, 300, 450, 600]) {
    await page.evaluate((to) => scrollTo(0, to), y);
    await page.waitForFunction(() => {
      const box = (/** @type {Element} */ part) => part.getBoundingClientRect();
      const toast = document.querySelector(".toast");
      const buttons = [...document.querySelectorAll(".button:not(.plain)")].filter((button) =>
        button.checkVisibility(),
      );
      const apart = (/** @type {DOMRect} */ a, /** @type {DOMRect} */ b) =>
        a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
      return toast && buttons.length > 0 && buttons.every((button) => apart(box(toast), box(button)));
    });
  }
  await page.mouse.move(0, 0);
  await messages(user).getByRole("button", { name: "Close" }).click();

  assert.equal(await messages(user).count(), 0);
});

browserTest("a cancellation shows one message", async (user) => {
  const { page } = user;
  await user.register();
  await user.reserve(event);
  await user.payWith("Payment succeeds");
  await user.waitForText("You’re in!");
  // The page shows the result itself.
  await page.getByRole("link", { name: "Notifications, 1 unread" }).waitFor();
  assert.equal(await messages(user).count(), 0);
  const other = await user.context.newPage();
  await other.goto("/");
  await other.getByRole("link", { name: "Notifications, 1 unread" }).waitFor();
  await user.button("Cancel booking").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();
  await messages(user).waitFor();
  await other.getByRole("link", { name: "Notifications, 3 unread" }).waitFor({ timeout: 40_000 });

  assert.equal(await messages(user).count(), 1);
  assert.equal(await other.locator(".toast").count(), 1);
});

browserTest("an expired booking shows a message in the tone of an error", async (user) => {
  const { page } = user;
  await user.register();
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

journey("the back button restores the focus", async (user) => {
  const { page } = user;
  await page.goto("/?q=" + encodeURIComponent(title));
  const link = page.getByRole("link", { name: title });
  await link.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: title }).waitFor();
  await page.goBack();
  await link.waitFor();

  await page.waitForFunction((name) => document.activeElement?.textContent === name, title);
});
