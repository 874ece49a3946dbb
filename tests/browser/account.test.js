// Accounts: login from every page and back, settings, sessions, deletion, and what other tabs notice.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { PHONE, Person, goHome, journey, unique, visit } from "./people.js";

const title = unique("Lanterns on the river");
let event = "";

before(async () => {
  const organizer = await Person.arrives();
  await organizer.registers("organizer");
  event = await organizer.publishes({ title, capacity: 200, price: "0" });
  await organizer.leaves();
});
after(goHome);

for (const [where, viewport] of /** @type {const} */ ([
  ["the header", undefined],
  ["a phone’s bottom bar", PHONE],
])) {
  visit(
    `logging in from ${where} leads back`,
    async (person) => {
      const { page } = person;
      await person.registers();
      await person.button(/Account:/).click();
      await person.button("Log out").click();
      await page.getByRole("link", { name: "Log in" }).filter({ visible: true }).first().waitFor();
      await page.goto(`/events/${event}?seats=2`);
      await page.getByRole("link", { name: "Log in" }).filter({ visible: true }).first().click();
      await page.getByRole("heading", { name: "Welcome back" }).waitFor();
      // Whoever changes their mind about the form does not lose the way.
      await page.getByRole("main").getByRole("link", { name: "Sign up" }).click();
      await page.getByRole("heading", { name: "Create your account" }).waitFor();
      await page.getByRole("main").getByRole("link", { name: "Log in" }).click();
      await page.getByRole("heading", { name: "Welcome back" }).waitFor();
      await person.logsIn();

      await page.getByRole("heading", { name: title }).waitFor();
      assert.equal(new URL(page.url()).search, "?seats=2");
    },
    { viewport },
  );
}

journey("signing up from the header leads back", async (person) => {
  const { page } = person;
  await page.goto(`/events/${event}`);
  await page.getByRole("banner").getByRole("link", { name: "Sign up" }).click();
  await person.fillsRegistration();

  await page.getByRole("heading", { name: title }).waitFor();
});

journey("an address that has an account is offered the login, filled in", async (person) => {
  const { page } = person;
  await person.registers();
  const again = await Person.arrives();
  await again.page.goto(`/events/${event}`);
  await again.page.getByRole("banner").getByRole("link", { name: "Sign up" }).click();
  again.email = person.email;
  await again.fillsRegistration();
  await again.sees("An account with this email address already exists.");
  await again.page.getByRole("link", { name: "Log in instead" }).click();
  assert.equal(await again.page.getByLabel("Email address").inputValue(), person.email);
  await again.page.getByLabel("Password").fill(person.password);
  await again.page.getByRole("main").getByRole("button", { name: "Log in" }).click();

  await again.page.getByRole("heading", { name: title }).waitFor();
  await again.leaves();
  await page.close();
});

visit("a login form and private pages in other tabs follow the session", async (person) => {
  const form = await person.context.newPage();
  await form.goto(`/login?next=/events/${event}`);
  await form.getByRole("heading", { name: "Welcome back" }).waitFor();
  await person.registers();
  await form.getByRole("heading", { name: title }).waitFor();
  await form.goto("/me/bookings");
  await form.getByRole("heading", { name: "My bookings" }).waitFor();

  await person.button(/Account:/).click();
  await person.button("Log out").click();

  await form.getByRole("heading", { name: "Welcome back" }).waitFor();
});

visit("my bookings in another tab follow what happens to them", async (person) => {
  const { page } = person;
  await person.registers();
  const list = await person.context.newPage();
  await list.goto("/me/bookings");
  await list.getByText("No bookings yet").waitFor();
  await page.goto(`/events/${event}`);
  await person.button("Book 1 free seat").click();
  await person.sees("You’re in!");
  await list.getByRole("listitem").filter({ hasText: title }).getByText("Confirmed").waitFor();
  await person.button("Cancel booking").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();

  await list.getByRole("listitem").filter({ hasText: title }).getByText("Cancelled").waitFor();
});

journey("name and password are changed, and other sessions are ended", async (person) => {
  const { page } = person;
  await person.registers();
  const elsewhere = await Person.arrives();
  await elsewhere.returns(person);
  await page.goto("/me/account");
  await person.fitsTheScreen();
  await page.getByLabel("Name").fill("Ada Lovelace");
  await person.button("Save changes").click();
  await person.button("Account: Ada Lovelace").waitFor();
  const others = page.getByRole("listitem").filter({ has: page.getByRole("button", { name: "Log out" }) });
  await others.first().getByRole("button", { name: "Log out" }).click();
  await person.sees("Session ended");
  await page.getByText("This device").waitFor();
  assert.equal(await others.count(), 0);

  await page.getByLabel("Current password").fill("not this one");
  await page.getByLabel("New password").fill("another quiet evening");
  await person.button("Change password").click();
  await person.isTold("That’s not your current password.");
  await page.getByLabel("Current password").fill(person.password);
  await person.button("Change password").click();
  await person.sees("Password changed.");
  await person.button(/Account:/).click();
  await person.button("Log out").click();
  await person.returns({ email: person.email, password: "another quiet evening" });
  await elsewhere.leaves();
});

visit("whoever may not organize yet is told how to ask", async (person) => {
  const { page } = person;
  await person.registers();
  await page.goto("/organizer");
  await person.sees("You can ask to become one in your account settings.");
  await page.goto("/me/account");
  await person.button("Ask to become an organizer").click();
  await person.sees("Your request has been sent.");
  await page.reload();

  await person.sees("Your request has been sent.");
});

visit("the language of an account follows it to other browsers, and notifications speak it", async (person) => {
  const { page } = person;
  await person.registers();
  await page.goto(`/events/${event}`);
  await person.button("Book 1 free seat").click();
  await person.sees("You’re in!");
  await page.goto("/me/notifications");
  await page.getByRole("link", { name: "Booking confirmed" }).waitFor();
  await person.speaks("Deutsch");
  await page.getByRole("link", { name: "Buchung bestätigt" }).waitFor();
  await page.getByText(/^Deine Buchung \d+ \(1 Platz für/).waitFor();

  const elsewhere = await Person.arrives();
  await elsewhere.returns(person);
  await elsewhere.button("Konto: Ada Attendee").waitFor();
  const news = elsewhere.page.getByRole("status").filter({ hasText: "Buchung bestätigt" });
  await elsewhere.page.goto(`/events/${event}`);
  await elsewhere.button("1 Platz kostenlos buchen").waitFor();
  await page.goto(`/events/${event}`);
  await person.button("1 Platz kostenlos buchen").click();
  await news.waitFor();
  await elsewhere.leaves();
});

visit("an account is deleted together with its coming bookings", async (person) => {
  const { page } = person;
  await person.registers();
  await page.goto(`/events/${event}`);
  await person.button("Book 1 free seat").click();
  await person.sees("You’re in!");
  await page.goto("/me/account");
  await person.button("Delete account").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("1 booking will be cancelled").waitFor();
  await dialog.getByRole("listitem").filter({ hasText: title }).waitFor();
  await dialog.getByLabel("Password").fill(person.password);
  await dialog.getByRole("button", { name: "Delete account" }).click();

  await person.sees("Your account is deleted.");
  await page.waitForURL((url) => url.pathname === "/");
  await page.getByRole("link", { name: "Log in" }).filter({ visible: true }).first().waitFor();
  await page.goto("/login");
  await person.logsIn();
  await person.isTold("Wrong email address or password.");
});

visit("a wrong password deletes no account", async (person) => {
  const { page } = person;
  await person.registers();
  await page.goto("/me/account");
  await person.button("Delete account").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("You have no upcoming bookings.").waitFor();
  await dialog.getByLabel("Password").fill("not this one");
  await dialog.getByRole("button", { name: "Delete account" }).click();
  await dialog.getByText("That’s not your current password.").waitFor();
  await dialog.getByRole("button", { name: "Go back" }).click();
  await dialog.waitFor({ state: "detached" });

  await page.reload();
  await page.getByRole("heading", { name: "Account settings" }).waitFor();
  await person.button(/Account:/).waitFor();
});
