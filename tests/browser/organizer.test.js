// An organizer's journeys: creating, publishing, editing and cancelling events; attendees and sales.
import assert from "node:assert/strict";
import { after } from "node:test";
import { readFile } from "node:fs/promises";
import { User, administrator, closeBrowser, journey, unique, browserTest } from "./user.js";

after(closeBrowser);

journey("an organizer creates an event and visitors find it @ingress", async (organizer, viewport) => {
  const { page } = organizer;
  const title = unique("Harbour lights");
  await organizer.register("organizer");
  await page.getByRole("link", { name: "New event" }).click();
  await organizer.button("Publish").click();
  await organizer.waitForText("Please fill in this field.");
  await organizer.expectNoOverflow();
  const id = await organizer.publish({ title, price: "12.50", capacity: 80 });

  const visitor = await User.open({ viewport });
  await visitor.page.goto(`/events/${id}`);
  await visitor.page.getByRole("heading", { name: title }).waitFor();
  await visitor.waitForText("€12.50");
  await visitor.waitForText("80 seats left");
  await visitor.expectNoOverflow();
  await visitor.close();
});

journey("only its organizer sees a draft", async (organizer) => {
  const { page } = organizer;
  const title = unique("Secret supper");
  await organizer.register("organizer");
  await page.goto("/organizer/events/new");
  await page.getByLabel("Title").fill(title);
  await page.getByLabel("Description").fill("Nobody knows yet.");
  await page.getByLabel("Venue").fill("Somewhere");
  await organizer.button("Save as draft").click();
  await organizer.waitForText("Draft saved");
  await page.waitForURL(/\/organizer\/events\/(?!new)[\w-]+$/);
  const id = page.url().split("/").pop();
  await page.goto("/organizer");
  await page.getByRole("listitem").filter({ hasText: title }).getByText("Draft").waitFor();

  const visitor = await User.open();
  await visitor.page.goto(`/events/${id}`);
  await visitor.page.getByRole("heading", { name: "Page not found" }).waitFor();
  await page.getByRole("link", { name: title }).click();
  await organizer.button("Publish").click();
  await organizer.button("Save changes").waitFor();
  await visitor.page.reload();
  await visitor.page.getByRole("heading", { name: title }).waitFor();
  await visitor.close();
});

journey("an event is edited, and its attendees are notified when it is cancelled", async (organizer) => {
  const { page } = organizer;
  const title = unique("Rooftop yoga");
  await organizer.register("organizer");
  const id = await organizer.publish({ title, price: "0" });
  await page.getByLabel("Venue").fill("The Lighthouse");
  await organizer.button("Save changes").click();
  await organizer.waitForText("Changes saved");
  const attendee = await User.open();
  await attendee.register();
  await attendee.page.goto(`/events/${id}`);
  await attendee.waitForText("The Lighthouse");
  await attendee.button("Book 1 free seat").click();
  await attendee.waitForText("You’re in!");

  await page.reload();
  await organizer.button("Cancel event").click();
  await page.getByRole("dialog").getByText("1 seat is taken").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel event" }).click();
  await page.getByRole("listitem").filter({ hasText: title }).getByText("Cancelled").waitFor();

  await attendee.page.getByText("The organizer cancelled this event.").waitFor({ timeout: 40_000 });
  await page.goto(`/organizer/events/${id}/bookings`);
  await page.getByRole("searchbox").fill(attendee.email);
  await page.getByRole("rowheader", { name: /Ada Attendee.*Cancelled/ }).waitFor();
  const download = page.waitForEvent("download");
  await organizer.button("Download CSV").click();
  assert.match(await readFile(await (await download).path(), "utf8"), new RegExp(`${attendee.email}.*Cancelled`));
  await page.goto(`/events/${id}`);
  await organizer.waitForText("This event has been cancelled.");
  assert.equal(await page.getByText(/^Free$|at the moment/).count(), 0);
  await attendee.close();
});

browserTest("an event can be edited while its sales are unavailable", async (organizer) => {
  const { page } = organizer;
  await organizer.register("organizer");
  const title = unique("Quiet evening");
  const id = await organizer.publish({ title, price: "0" });
  await page.route("**/bookings/events/*/sales", (route) => route.fulfill({ status: 500, body: "" }));
  await page.route("**/bookings/sales*", (route) => route.fulfill({ status: 500, body: "" }));

  await page.goto(`/organizer/events/${id}`);
  await page
    .getByRole("alert")
    .filter({ has: page.getByRole("button", { name: "Try again" }) })
    .waitFor();
  await page.getByLabel("Venue").fill("The other hall");
  await organizer.button("Save changes").click();
  await organizer.waitForText("Changes saved");
  await page.goto(`/organizer/events/${id}/bookings`);
  await organizer.waitForText("No bookings yet");
  await page.goto("/organizer");
  await page.getByRole("link", { name: title }).waitFor();

  await page.unroute("**/bookings/sales*");
  await organizer.button("Try again").click();
  await page.getByRole("button", { name: "Try again" }).waitFor({ state: "detached" });
});

browserTest(
  "a new event has the visitor's time zone by its current name",
  async (organizer) => {
    await organizer.register("organizer");
    await organizer.page.goto("/organizer/events/new");
    const zone = organizer.page.getByLabel("Time zone");
    assert.equal(await zone.inputValue(), "Asia/Kolkata");
    const offered = await zone.locator("option").allTextContents();
    assert.ok(offered.includes("Europe/Oslo") && !offered.includes("Asia/Calcutta"), offered.join());
  },
  { timezoneId: "Asia/Calcutta" },
);

browserTest("right-to-left text does not affect the text around it", async (organizer) => {
  const { page } = organizer;
  await organizer.register("organizer");
  const title = unique("ליל ג׳אז");
  const id = await organizer.publish({ title, price: "0", venue: "תל אביב" });

  await page.goto(`/events/${id}`);
  const heading = page.getByRole("heading", { level: 1 });
  await heading.waitFor();
  assert.equal(await heading.evaluate((element) => getComputedStyle(element).direction), "rtl");
  await page.goto(`/?q=${encodeURIComponent(title)}`);
  const meta = page.locator(".event-card .meta").first();
  assert.match(await meta.innerText(), /\u2068תל אביב\u2069/);
  assert.equal(await meta.evaluate((element) => getComputedStyle(element).direction), "ltr");
  await organizer.screenshot("right-to-left");
});

journey("an attendee cannot open the organizer's pages", async (user) => {
  await user.register();
  await user.page.goto("/organizer");

  await user.page.getByRole("heading", { name: "For organizers only" }).waitFor();
  assert.equal(await user.page.getByRole("navigation").getByRole("link", { name: "Organize" }).count(), 0);
});

journey("the texts of a new event survive the end of the session", async (organizer) => {
  const { page } = organizer;
  const title = unique("The long letter");
  await organizer.register("organizer");
  await page.goto("/organizer/events/new");
  await page.getByLabel("Title").fill(title);
  await page.getByLabel("Venue").fill("The reading room");
  await organizer.context.clearCookies();
  await organizer.button("Publish").click();
  await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await organizer.submitLogin();
  await page.getByRole("heading", { name: "New event" }).waitFor();
  assert.equal(await page.getByLabel("Title").inputValue(), title);
  await organizer.button("Publish").click();

  await page.getByRole("heading", { name: title }).waitFor();
  await page.goto("/organizer/events/new");
  assert.equal(await page.getByLabel("Title").inputValue(), "");
});

/**
 * Creates an event with the API.
 * @param {User} organizer
 * @param {Record<string, unknown>} fields
 * @returns {Promise<Api.EventItem>}
 */
const createEvent = (organizer, fields) =>
  organizer.page.evaluate(async (more) => {
    const usual = { venue: "The old harbour", time_zone: "Europe/Berlin", capacity: 60, price: 0, currency: "EUR" };
    const times = { starts_at: "2027-10-31T00:30:00Z", ends_at: "2027-10-31T04:00:00Z" };
    const body = JSON.stringify({ ...usual, ...times, ...more });
    const headers = { "Content-Type": "application/json" };
    return (await fetch("/api/events", { method: "POST", headers, body })).json();
  }, fields);

journey("only edited fields are sent, and leaving unsaved edits needs a confirmation", async (organizer) => {
  const { page } = organizer;
  await organizer.register("organizer");
  // The second of two instants with the local time 02:30.
  const event = await createEvent(organizer, { title: unique("The long night"), starts_at: "2027-10-31T01:30:00Z" });
  const editor = `/organizer/events/${event.id}`;
  await page.goto("/organizer");
  await page.getByRole("link", { name: event.title }).click();
  await organizer.waitForText("UTC+01:00");
  await page.getByLabel("Venue").fill("The barn");
  const patch = page.waitForRequest((request) => request.method() === "PATCH");
  await organizer.button("Save changes").click();
  assert.deepEqual((await patch).postDataJSON(), { venue: "The barn" });
  await page.waitForURL(`**${editor}`);
  await organizer.waitForText("Changes saved");

  await page.getByLabel("Starts").fill("2027-11-01T20:00");
  assert.equal(await page.getByLabel("Ends").inputValue(), "2027-11-01T22:30");
  await page.getByRole("main").getByRole("link", { name: "My events" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Keep editing" }).click();
  assert.equal(new URL(page.url()).pathname, editor);
  await page.goBack({ waitUntil: "commit" });
  await page.getByRole("dialog").getByText("have not been saved").waitFor();
  await page.waitForURL(`**${editor}`);
  await page.getByRole("dialog").getByRole("button", { name: "Keep editing" }).click();
  assert.equal(await page.getByLabel("Starts").inputValue(), "2027-11-01T20:00");
  await organizer.expectNoOverflow();
  await page.goBack({ waitUntil: "commit" });
  await page.getByRole("dialog").getByRole("button", { name: "Discard changes" }).click();
  await page.getByRole("link", { name: event.title }).click();
  assert.equal(await page.getByLabel("Starts").inputValue(), "2027-10-31T02:30");
});

/** A short name of the zone of Berlin. */
const ZONE_NAME = /CES?T|GMT\+/;

browserTest(
  "times name their zone to a visitor in another one",
  async (organizer) => {
    const { page } = organizer;
    await organizer.register("organizer");
    const event = await createEvent(organizer, { title: unique("Matinee"), price: 0 });
    await page.goto(`/organizer/events/${event.id}/bookings`);
    await organizer.waitForText("shown for Europe/Berlin, not for your time zone (Asia/Tokyo).");
    await page.goto(`/events/${event.id}`);
    await organizer.waitForText("In your time zone:");
    await page.getByRole("time").filter({ hasText: ZONE_NAME }).first().waitFor();
    await organizer.button("Book 1 free seat").click();

    await page
      .getByText(/^You can cancel this booking until/)
      .filter({ hasText: ZONE_NAME })
      .waitFor();
  },
  { timezoneId: "Asia/Tokyo" },
);

journey("the edits of an event survive the end of the session", async (organizer) => {
  const { page } = organizer;
  await organizer.register("organizer");
  const event = await createEvent(organizer, { title: unique("A short letter") });
  await page.goto(`/organizer/events/${event.id}`);
  await page.getByLabel("Venue").fill("The attic");
  await organizer.context.clearCookies();
  await organizer.button("Save changes").click();
  await organizer.submitLogin();
  await page.waitForURL(`**/organizer/events/${event.id}`);
  await organizer.button("Save changes").waitFor();

  assert.equal(await page.getByLabel("Venue").inputValue(), "The attic");
  assert.equal(await page.getByLabel("Title").inputValue(), event.title);
});

journey("the form has the limits of the service", async (organizer) => {
  const { page } = organizer;
  await organizer.register("organizer");
  await page.goto("/organizer/events/new");
  await page.getByLabel("Venue").fill("The Old Mill");
  // Each one is two UTF-16 units, and one character for the services.
  await page.getByLabel("Title").fill("🎷".repeat(201));
  await page.getByLabel("Currency").selectOption("JPY");
  await page.getByLabel("Price per seat").fill("100000000");
  await organizer.button("Publish").click();
  await organizer.waitForText("at most 200 characters");
  await organizer.waitForText("99,999,999");
  await page.getByLabel("Title").fill("🎷".repeat(200));
  await page.getByLabel("Price per seat").fill("9999999");
  const poster = await page.locator(".preview .cover").innerHTML();
  await organizer.button("Publish").click();
  await page.waitForURL(/\/organizer\/events\/(?!new)[\w-]+$/);

  await page.getByRole("link", { name: "View event page" }).click();
  await organizer.waitForText(/JP¥9,999,999/);
  assert.equal(await page.locator(".event-cover .cover").innerHTML(), poster);
});

journey("an amount has the decimals of its currency", async (organizer) => {
  const { page } = organizer;
  await organizer.register("organizer");
  const event = await createEvent(organizer, { title: unique("Csárdás"), price: 1_234_550, currency: "HUF" });
  await page.goto(`/events/${event.id}`);
  await organizer.waitForText("HUF 12,345.50");
  const data = JSON.parse((await page.locator("script[type='application/ld+json']").textContent()) ?? "{}");
  assert.equal(data.offers.price, "12345.50");
  await page.goto(`/organizer/events/${event.id}`);
  assert.equal(await page.getByLabel("Price per seat").inputValue(), "12345.50");
});

journey("more events are loaded on demand", async (organizer) => {
  const { page } = organizer;
  const category = unique("lantern");
  await organizer.register("organizer");
  const statuses = await page.evaluate(async (name) => {
    const responses = [];
    for (let number = 1; number <= 30; number++) {
      const starts = Date.now() + number * 86_400_000;
      const event = {
        title: `Lantern walk ${number}`,
        venue: "The old harbour",
        time_zone: "Europe/Oslo",
        starts_at: new Date(starts).toISOString(),
        ends_at: new Date(starts + 3_600_000).toISOString(),
        capacity: 20,
        price: 0,
        currency: "NOK",
        category: name,
      };
      const headers = { "Content-Type": "application/json" };
      responses.push((await fetch("/api/events", { method: "POST", headers, body: JSON.stringify(event) })).status);
    }
    return responses;
  }, category);
  assert.ok(statuses.every((status) => status === 201));

  await page.goto(`/?category=${category}`);
  await page.getByRole("link", { name: "Lantern walk 24", exact: true }).waitFor();
  assert.equal(await page.getByRole("article").count(), 24);
  await organizer.button("Show more events").click();
  await page.getByRole("link", { name: "Lantern walk 30", exact: true }).click();
  await page.getByRole("heading", { name: "Lantern walk 30" }).waitFor();
  await page.goBack();
  await page.getByRole("link", { name: "Lantern walk 30", exact: true }).waitFor();
  assert.equal(await page.getByRole("article").count(), 30);
  assert.ok(await page.evaluate(() => scrollY > 500));

  await page.goto("/organizer");
  await organizer.waitForText("Published events");
  assert.equal(await page.getByRole("listitem").count(), 30);
});

journey("an organizer sees and exports the attendees, and sees the sales", async (organizer) => {
  const { page } = organizer;
  const title = unique("A night of short films");
  await organizer.register("organizer");
  const id = await organizer.publish({ title, price: "12.50", capacity: 40 });
  await page.getByRole("link", { name: "Bookings and sales" }).click();
  await organizer.waitForText("No bookings yet.");
  await organizer.waitForText("No sales yet.");
  const [stays, leaves] = [await User.open(), await User.open()];
  for (const [user, name] of /** @type {[User, string][]} */ ([
    [stays, "=SUM(1,2)"],
    [leaves, "Lea Leaver"],
  ])) {
    await user.page.goto("/register");
    await user.fillRegistration("attendee", name);
    await user.button(/Account:/).waitFor();
    await user.reserve(id, 2);
    await user.payWith("Payment succeeds");
    await user.waitForText("You’re in!");
  }

  await page.reload();
  await page.getByRole("rowheader", { name: "Lea Leaver" }).waitFor();
  await organizer.waitForFigure("Seats sold", "4");
  await organizer.waitForFigure("Revenue", "€50");
  await leaves.button("Cancel booking").click();
  await leaves.page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();
  await leaves.page.getByText("Cancelled and refunded").first().waitFor({ timeout: 40_000 });

  await page.reload();
  await organizer.waitForText("2 seats were cancelled and €25 refunded");
  await organizer.waitForFigure("Seats sold", "2");
  await organizer.waitForFigure("Available", "38");
  await organizer.waitForFigure("Revenue", "€25");
  await page.getByRole("img", { name: /^Sales over time/ }).waitFor();
  await page.getByText("Show as table").click();
  await page.getByRole("row", { name: /€25/ }).first().waitFor();
  assert.equal(await page.getByRole("rowheader", { name: "Lea Leaver" }).count(), 0);
  await organizer.expectNoOverflow();

  await page.getByRole("searchbox").fill("nobody of that name");
  await organizer.waitForText("No matching attendees.");
  await page.getByRole("searchbox").fill(stays.email.toUpperCase());
  await page.getByRole("rowheader", { name: "=SUM(1,2)" }).waitFor();
  const download = page.waitForEvent("download");
  await organizer.button("Download CSV").click();
  const path = await (await download).path();
  const lines = (await readFile(path, "utf8")).split("\r\n");
  assert.equal((await download).suggestedFilename(), `attendees-${id}.csv`);
  assert.equal(lines.length, 3);
  assert.ok(lines[0].startsWith('\u{feff}"booking_id",'), lines[0]);
  assert.ok(lines[1].includes(`,"'=SUM(1,2)","${stays.email}",2,25.00,"EUR",`), lines[1]);
  await page.goto("/organizer");
  await page.getByRole("listitem").filter({ hasText: title }).getByText("2 of 40 sold · €25").waitFor();
  await Promise.all([stays.close(), leaves.close()]);
});

browserTest("an organizer’s pages are updated after a booking", async (organizer) => {
  const { page } = organizer;
  const title = unique("Late show");
  await organizer.register("organizer");
  const id = await organizer.publish({ title, price: "12.50", capacity: 40 });
  await page.goto(`/organizer/events/${id}/bookings`);
  await organizer.waitForFigure("Seats sold", "0");
  const overview = await organizer.context.newPage();
  await overview.goto("/organizer");
  await overview.getByText("0 of 40 sold", { exact: true }).waitFor();

  const attendee = await User.open();
  await attendee.register();
  await attendee.reserve(id, 3);
  await attendee.payWith("Payment succeeds");
  await attendee.waitForText("You’re in!");

  await page.getByRole("rowheader", { name: "Ada Attendee" }).waitFor({ timeout: 40_000 });
  await organizer.waitForFigure("Seats sold", "3");
  await overview.getByText("3 of 40 sold · €37.50").waitFor({ timeout: 40_000 });
  await attendee.close();
});

browserTest(
  "no line breaks inside an amount of revenue",
  async (organizer) => {
    const { page } = organizer;
    await organizer.register("organizer");
    await organizer.publish({ title: unique("A dear evening") });
    await page.route("**/bookings/sales?*", (route) =>
      route.fulfill({
        json: {
          items: [
            {
              event_id: "x",
              currency: "HUF",
              seats: 1,
              amount: 123_456_789_00,
              cancelled_seats: 0,
              cancelled_amount: 0,
            },
            { event_id: "x", currency: "EUR", seats: 1, amount: 987_654_321, cancelled_seats: 0, cancelled_amount: 0 },
          ],
          next_cursor: null,
        },
      }),
    );
    await page.goto("/organizer");
    await organizer.waitForText("€9,876,543.21");
    await organizer.expectNoOverflow();
    const lines = await page
      .locator(".figure dd span")
      .evaluateAll((parts) => parts.map((part) => part.getClientRects().length));

    assert.deepEqual(lines, [1, 1]);
  },
  { viewport: { width: 320, height: 640 } },
);

journey("an administrator approves an organizer", async (admin) => {
  const { page } = admin;
  const applicant = await User.open();
  await applicant.register();
  await applicant.page.goto("/me/account");
  await applicant.button("Ask to become an organizer").click();
  await applicant.waitForText("Your request has been sent.");
  await admin.logInAs(administrator());
  await admin.button(/Account:/).click();
  await page.getByRole("link", { name: "Organizer requests" }).click();
  await admin.waitForText(applicant.email);
  await admin.expectNoOverflow();
  const request = page.getByRole("listitem").filter({ hasText: applicant.email });
  await request.getByRole("button", { name: "Approve" }).click();
  await admin.waitForText("can now create events");
  await request.waitFor({ state: "detached" });

  const organizer = await User.open();
  await organizer.logInAs(applicant);
  await organizer.page.getByRole("navigation").getByRole("link", { name: "Organize" }).waitFor();
  await organizer.page.goto("/admin");
  await organizer.page.getByRole("heading", { name: "Page not found" }).waitFor();
  await Promise.all([applicant.close(), organizer.close()]);
});
