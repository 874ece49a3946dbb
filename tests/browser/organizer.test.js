// An organizer's journeys: create, publish, edit and cancel events.
import assert from "node:assert/strict";
import { after } from "node:test";
import { readFile } from "node:fs/promises";
import { Person, administrator, goHome, journey, unique, visit } from "./people.js";

after(goHome);

journey("an organizer creates an event and others find it @ingress", async (organizer, viewport) => {
  const { page } = organizer;
  const title = unique("Harbour lights");
  await organizer.registers("organizer");
  await page.getByRole("link", { name: "New event" }).click();
  await organizer.button("Publish").click();
  await organizer.sees("Please fill in this field.");
  await organizer.fitsTheScreen();
  const id = await organizer.publishes({ title, price: "12.50", capacity: 80 });

  const visitor = await Person.arrives({ viewport });
  await visitor.page.goto(`/events/${id}`);
  await visitor.page.getByRole("heading", { name: title }).waitFor();
  await visitor.sees("€12.50");
  await visitor.sees("80 seats left");
  await visitor.fitsTheScreen();
  await visitor.leaves();
});

journey("a draft is the organizer's alone until it is published", async (organizer) => {
  const { page } = organizer;
  const title = unique("Secret supper");
  await organizer.registers("organizer");
  await page.goto("/organizer/events/new");
  await page.getByLabel("Title").fill(title);
  await page.getByLabel("Description").fill("Nobody knows yet.");
  await page.getByLabel("Venue").fill("Somewhere");
  await organizer.button("Save as draft").click();
  await organizer.sees("Draft saved");
  await page.waitForURL(/\/organizer\/events\/(?!new)[\w-]+$/);
  const id = page.url().split("/").pop();
  await page.goto("/organizer");
  await page.getByRole("listitem").filter({ hasText: title }).getByText("Draft").waitFor();

  const visitor = await Person.arrives();
  await visitor.page.goto(`/events/${id}`);
  await visitor.page.getByRole("heading", { name: "Page not found" }).waitFor();
  await page.getByRole("link", { name: title }).click();
  await organizer.button("Publish").click();
  await organizer.button("Save changes").waitFor();
  await visitor.page.reload();
  await visitor.page.getByRole("heading", { name: title }).waitFor();
  await visitor.leaves();
});

journey("an event is edited, and cancelling it tells who booked", async (organizer) => {
  const { page } = organizer;
  const title = unique("Rooftop yoga");
  await organizer.registers("organizer");
  const id = await organizer.publishes({ title, price: "0" });
  await page.getByLabel("Venue").fill("The Lighthouse");
  await organizer.button("Save changes").click();
  await organizer.sees("Changes saved");
  const attendee = await Person.arrives();
  await attendee.registers();
  await attendee.page.goto(`/events/${id}`);
  await attendee.sees("The Lighthouse");
  await attendee.button("Book 1 free seat").click();
  await attendee.sees("You’re in!");

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
  await organizer.sees("This event has been cancelled.");
  assert.equal(await page.getByText(/^Free$|at the moment/).count(), 0);
  await attendee.leaves();
});

visit("an event can be edited while its sales cannot be told", async (organizer) => {
  const { page } = organizer;
  await organizer.registers("organizer");
  const title = unique("Quiet evening");
  const id = await organizer.publishes({ title, price: "0" });
  await page.route("**/bookings/events/*/sales", (route) => route.fulfill({ status: 500, body: "" }));
  await page.route("**/bookings/sales*", (route) => route.fulfill({ status: 500, body: "" }));

  await page.goto(`/organizer/events/${id}`);
  await page
    .getByRole("alert")
    .filter({ has: page.getByRole("button", { name: "Try again" }) })
    .waitFor();
  await page.getByLabel("Venue").fill("The other hall");
  await organizer.button("Save changes").click();
  await organizer.sees("Changes saved");
  await page.goto(`/organizer/events/${id}/bookings`);
  await organizer.sees("No bookings yet");
  await page.goto("/organizer");
  await page.getByRole("link", { name: title }).waitFor();

  await page.unroute("**/bookings/sales*");
  await organizer.button("Try again").click();
  await page.getByRole("button", { name: "Try again" }).waitFor({ state: "detached" });
});

visit(
  "an event begins in the visitor's zone, by its name in use",
  async (organizer) => {
    await organizer.registers("organizer");
    await organizer.page.goto("/organizer/events/new");
    const zone = organizer.page.getByLabel("Time zone");
    assert.equal(await zone.inputValue(), "Asia/Kolkata");
    const offered = await zone.locator("option").allTextContents();
    assert.ok(offered.includes("Europe/Oslo") && !offered.includes("Asia/Calcutta"), offered.join());
  },
  { timezoneId: "Asia/Calcutta" },
);

visit("what runs from right to left stays in its place", async (organizer) => {
  const { page } = organizer;
  await organizer.registers("organizer");
  const title = unique("ליל ג׳אז");
  const id = await organizer.publishes({ title, price: "0", venue: "תל אביב" });

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

journey("an attendee is not let onto the organizer's pages", async (person) => {
  await person.registers();
  await person.page.goto("/organizer");

  await person.page.getByRole("heading", { name: "For organizers only" }).waitFor();
  assert.equal(await person.page.getByRole("navigation").getByRole("link", { name: "Organize" }).count(), 0);
});

journey("what was typed survives a session that ended", async (organizer) => {
  const { page } = organizer;
  const title = unique("The long letter");
  await organizer.registers("organizer");
  await page.goto("/organizer/events/new");
  await page.getByLabel("Title").fill(title);
  await page.getByLabel("Venue").fill("The reading room");
  await organizer.context.clearCookies();
  await organizer.button("Publish").click();
  await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await organizer.logsIn();
  await page.getByRole("heading", { name: "New event" }).waitFor();
  assert.equal(await page.getByLabel("Title").inputValue(), title);
  await organizer.button("Publish").click();

  await page.getByRole("heading", { name: title }).waitFor();
  await page.goto("/organizer/events/new");
  assert.equal(await page.getByLabel("Title").inputValue(), "");
});

/**
 * Creates an event by the API; gives it.
 * @param {Person} organizer
 * @param {Record<string, unknown>} fields
 * @returns {Promise<Api.EventItem>}
 */
const creates = (organizer, fields) =>
  organizer.page.evaluate(async (more) => {
    const usual = { venue: "The old harbour", time_zone: "Europe/Berlin", capacity: 60, price: 0, currency: "EUR" };
    const times = { starts_at: "2027-10-31T00:30:00Z", ends_at: "2027-10-31T04:00:00Z" };
    const body = JSON.stringify({ ...usual, ...times, ...more });
    const headers = { "Content-Type": "application/json" };
    return (await fetch("/api/events", { method: "POST", headers, body })).json();
  }, fields);

journey("only what was edited is sent, and what was edited is not lost unasked", async (organizer) => {
  const { page } = organizer;
  await organizer.registers("organizer");
  // The second of two equal half past twos.
  const event = await creates(organizer, { title: unique("The long night"), starts_at: "2027-10-31T01:30:00Z" });
  const editor = `/organizer/events/${event.id}`;
  await page.goto("/organizer");
  await page.getByRole("link", { name: event.title }).click();
  await organizer.sees("UTC+01:00");
  await page.getByLabel("Venue").fill("The barn");
  const patch = page.waitForRequest((request) => request.method() === "PATCH");
  await organizer.button("Save changes").click();
  assert.deepEqual((await patch).postDataJSON(), { venue: "The barn" });
  await page.waitForURL(`**${editor}`);
  await organizer.sees("Changes saved");

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
  await organizer.fitsTheScreen();
  await page.goBack({ waitUntil: "commit" });
  await page.getByRole("dialog").getByRole("button", { name: "Discard changes" }).click();
  await page.getByRole("link", { name: event.title }).click();
  assert.equal(await page.getByLabel("Starts").inputValue(), "2027-10-31T02:30");
});

journey("what was edited outlasts a session that ends", async (organizer) => {
  const { page } = organizer;
  await organizer.registers("organizer");
  const event = await creates(organizer, { title: unique("A short letter") });
  await page.goto(`/organizer/events/${event.id}`);
  await page.getByLabel("Venue").fill("The attic");
  await organizer.context.clearCookies();
  await organizer.button("Save changes").click();
  await organizer.logsIn();
  await page.waitForURL(`**/organizer/events/${event.id}`);
  await organizer.button("Save changes").waitFor();

  assert.equal(await page.getByLabel("Venue").inputValue(), "The attic");
  assert.equal(await page.getByLabel("Title").inputValue(), event.title);
});

journey("the form takes what the service takes", async (organizer) => {
  const { page } = organizer;
  await organizer.registers("organizer");
  await page.goto("/organizer/events/new");
  await page.getByLabel("Venue").fill("The Old Mill");
  // Two units of UTF-16 each, one character each to the services.
  await page.getByLabel("Title").fill("🎷".repeat(201));
  await page.getByLabel("Currency").selectOption("JPY");
  await page.getByLabel("Price per seat").fill("100000000");
  await organizer.button("Publish").click();
  await organizer.sees("at most 200 characters");
  await organizer.sees("99,999,999");
  await page.getByLabel("Title").fill("🎷".repeat(200));
  await page.getByLabel("Price per seat").fill("9999999");
  const poster = await page.locator(".preview .cover").innerHTML();
  await organizer.button("Publish").click();
  await page.waitForURL(/\/organizer\/events\/(?!new)[\w-]+$/);

  await page.getByRole("link", { name: "View event page" }).click();
  await organizer.sees(/JP¥9,999,999/);
  assert.equal(await page.locator(".event-cover .cover").innerHTML(), poster);
});

journey("an amount has the digits of its currency wherever it is shown", async (organizer) => {
  const { page } = organizer;
  await organizer.registers("organizer");
  const event = await creates(organizer, { title: unique("Csárdás"), price: 1_234_550, currency: "HUF" });
  await page.goto(`/events/${event.id}`);
  await organizer.sees("HUF 12,345.50");
  const data = JSON.parse((await page.locator("script[type='application/ld+json']").textContent()) ?? "{}");
  assert.equal(data.offers.price, "12345.50");
  await page.goto(`/organizer/events/${event.id}`);
  assert.equal(await page.getByLabel("Price per seat").inputValue(), "12345.50");
});

journey("more events come on demand", async (organizer) => {
  const { page } = organizer;
  const category = unique("lantern");
  await organizer.registers("organizer");
  const made = await page.evaluate(async (name) => {
    const answers = [];
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
      answers.push((await fetch("/api/events", { method: "POST", headers, body: JSON.stringify(event) })).status);
    }
    return answers;
  }, category);
  assert.ok(made.every((status) => status === 201));

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
  await organizer.sees("Published events");
  assert.equal(await page.getByRole("listitem").count(), 30);
});

journey("an organizer sees who comes, takes the list away, and reads what was sold", async (organizer) => {
  const { page } = organizer;
  const title = unique("A night of short films");
  await organizer.registers("organizer");
  const id = await organizer.publishes({ title, price: "12.50", capacity: 40 });
  await page.getByRole("link", { name: "Bookings and sales" }).click();
  await organizer.sees("No bookings yet.");
  await organizer.sees("No sales yet.");
  const [stays, leaves] = [await Person.arrives(), await Person.arrives()];
  for (const [person, name] of /** @type {[Person, string][]} */ ([
    [stays, "=SUM(1,2)"],
    [leaves, "Lea Leaver"],
  ])) {
    await person.page.goto("/register");
    await person.fillsRegistration("attendee", name);
    await person.button(/Account:/).waitFor();
    await person.reserves(id, 2);
    await person.paysWith("Payment succeeds");
    await person.sees("You’re in!");
  }

  await page.reload();
  await page.getByRole("rowheader", { name: "Lea Leaver" }).waitFor();
  await organizer.has("Seats sold", "4");
  await organizer.has("Revenue", "€50");
  await leaves.button("Cancel booking").click();
  await leaves.page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();
  await leaves.page.getByText("Cancelled and refunded").first().waitFor({ timeout: 40_000 });

  await page.reload();
  await organizer.sees("2 seats were cancelled and €25 refunded");
  await organizer.has("Seats sold", "2");
  await organizer.has("Available", "38");
  await organizer.has("Revenue", "€25");
  await page.getByRole("img", { name: /^Sales over time/ }).waitFor();
  await page.getByText("Show as table").click();
  await page.getByRole("row", { name: /€25/ }).first().waitFor();
  assert.equal(await page.getByRole("rowheader", { name: "Lea Leaver" }).count(), 0);
  await organizer.fitsTheScreen();

  await page.getByRole("searchbox").fill("nobody of that name");
  await organizer.sees("No matching attendees.");
  await page.getByRole("searchbox").fill(stays.email.toUpperCase());
  await page.getByRole("rowheader", { name: "=SUM(1,2)" }).waitFor();
  const download = page.waitForEvent("download");
  await organizer.button("Download CSV").click();
  const sheet = await (await download).path();
  const lines = (await readFile(sheet, "utf8")).split("\r\n");
  assert.equal((await download).suggestedFilename(), `attendees-${id}.csv`);
  assert.equal(lines.length, 3);
  assert.ok(lines[0].startsWith('\u{feff}"booking_id",'), lines[0]);
  assert.ok(lines[1].includes(`,"'=SUM(1,2)","${stays.email}",2,25.00,"EUR",`), lines[1]);
  await page.goto("/organizer");
  await page.getByRole("listitem").filter({ hasText: title }).getByText("2 of 40 sold · €25").waitFor();
  await Promise.all([stays.leaves(), leaves.leaves()]);
});

visit("an organizer’s pages follow what others book", async (organizer) => {
  const { page } = organizer;
  const title = unique("Late show");
  await organizer.registers("organizer");
  const id = await organizer.publishes({ title, price: "12.50", capacity: 40 });
  await page.goto(`/organizer/events/${id}/bookings`);
  await organizer.has("Seats sold", "0");
  const overview = await organizer.context.newPage();
  await overview.goto("/organizer");
  await overview.getByText("0 of 40 sold").waitFor();

  const attendee = await Person.arrives();
  await attendee.registers();
  await attendee.reserves(id, 3);
  await attendee.paysWith("Payment succeeds");
  await attendee.sees("You’re in!");

  await page.getByRole("rowheader", { name: "Ada Attendee" }).waitFor({ timeout: 40_000 });
  await organizer.has("Seats sold", "3");
  await overview.getByText("3 of 40 sold · €37.50").waitFor({ timeout: 40_000 });
  await attendee.leaves();
});

visit(
  "revenue never breaks inside a number",
  async (organizer) => {
    const { page } = organizer;
    await organizer.registers("organizer");
    await organizer.publishes({ title: unique("A dear evening") });
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
    await organizer.sees("€9,876,543.21");
    await organizer.fitsTheScreen();
    const lines = await page
      .locator(".figure dd span")
      .evaluateAll((parts) => parts.map((part) => part.getClientRects().length));

    assert.deepEqual(lines, [1, 1]);
  },
  { viewport: { width: 320, height: 640 } },
);

journey("an administrator approves who wants to organize", async (admin) => {
  const { page } = admin;
  const wants = await Person.arrives();
  await wants.registers();
  await wants.page.goto("/me/account");
  await wants.button("Ask to become an organizer").click();
  await wants.sees("Your request has been sent.");
  await admin.returns(administrator());
  await admin.button(/Account:/).click();
  await page.getByRole("link", { name: "Organizer requests" }).click();
  await admin.sees(wants.email);
  await admin.fitsTheScreen();
  const request = page.getByRole("listitem").filter({ hasText: wants.email });
  await request.getByRole("button", { name: "Approve" }).click();
  await admin.sees("can now create events");
  await request.waitFor({ state: "detached" });

  const organizer = await Person.arrives();
  await organizer.returns(wants);
  await organizer.page.getByRole("navigation").getByRole("link", { name: "Organize" }).waitFor();
  await organizer.page.goto("/admin");
  await organizer.page.getByRole("heading", { name: "Page not found" }).waitFor();
  await Promise.all([wants.leaves(), organizer.leaves()]);
});
