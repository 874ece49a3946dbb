// An organizer's journeys: create, publish, edit and cancel events.
import assert from "node:assert/strict";
import { after } from "node:test";
import { Person, SIZES, goHome, journey, unique } from "./people.js";

after(goHome);

for (const [size, viewport] of SIZES) {
  journey(
    `an organizer creates an event and others find it ${size}`,
    async (organizer) => {
      const { page } = organizer;
      const title = unique("Harbour lights");
      await organizer.registers("organizer");
      await page.getByRole("link", { name: "New event" }).click();
      await organizer.button("Publish").click();
      await organizer.sees("Please fill this in.");
      await organizer.fitsTheScreen();
      const id = await organizer.publishes({ title, price: "12.50", capacity: 80 });

      const visitor = await Person.arrives({ viewport });
      await visitor.page.goto(`/events/${id}`);
      await visitor.page.getByRole("heading", { name: title }).waitFor();
      await visitor.sees("€12.50");
      await visitor.sees("80 seats left");
      await visitor.fitsTheScreen();
      await visitor.leaves();
    },
    { viewport },
  );
}

journey("a draft is the organizer's alone until it is published", async (organizer) => {
  const { page } = organizer;
  const title = unique("Secret supper");
  await organizer.registers("organizer");
  await page.goto("/organizer/events/new");
  await page.getByLabel("Title").fill(title);
  await page.getByLabel("Description").fill("Nobody knows yet.");
  await page.getByLabel("Venue").fill("Somewhere");
  await organizer.button("Keep as draft").click();
  await organizer.sees("Draft saved");
  await page.waitForURL(/\/organizer\/events\/(?!new)[\w-]+$/);
  const id = page.url().split("/").pop();
  await page.goto("/organizer");
  await page.getByRole("listitem").filter({ hasText: title }).getByText("Draft").waitFor();

  const visitor = await Person.arrives();
  await visitor.page.goto(`/events/${id}`);
  await visitor.page.getByRole("heading", { name: "Nothing here" }).waitFor();
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
  await organizer.sees("Saved");
  const attendee = await Person.arrives();
  await attendee.registers();
  await attendee.page.goto(`/events/${id}`);
  await attendee.sees("The Lighthouse");
  await attendee.button("Book 1 free seat").click();
  await attendee.sees("You are in!");

  await page.reload();
  await organizer.button("Cancel event").click();
  await page.getByRole("dialog").getByText("1 seat is taken").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel event" }).click();
  await page.getByRole("listitem").filter({ hasText: title }).getByText("Cancelled").waitFor();

  await attendee.page.getByText("This booking was cancelled").waitFor({ timeout: 40_000 });
  await attendee.leaves();
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
