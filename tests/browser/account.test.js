// Accounts: login and the way back, settings, sessions, deletion, and updates of other tabs.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { PHONE, User, closeBrowser, journey, unique, browserTest } from "./user.js";

const title = unique("Lanterns on the river");
let event = "";

before(async () => {
  const organizer = await User.open();
  await organizer.register("organizer");
  event = await organizer.publish({ title, capacity: 200, price: "0" });
  await organizer.close();
});
after(closeBrowser);

for (const [where, viewport] of /** @type {const} */ ([
  ["the header", undefined],
  ["a phone’s bottom bar", PHONE],
])) {
  browserTest(
    `logging in from ${where} leads back`,
    async (user) => {
      const { page } = user;
      await user.register();
      await user.button(/Account:/).click();
      await user.button("Log out").click();
      await page.getByRole("link", { name: "Log in" }).filter({ visible: true }).first().waitFor();
      await page.goto(`/events/${event}?seats=2`);
      await page.getByRole("link", { name: "Log in" }).filter({ visible: true }).first().click();
      await page.getByRole("heading", { name: "Welcome back" }).waitFor();
      // Switching between the two forms keeps the way back.
      await page.getByRole("main").getByRole("link", { name: "Sign up" }).click();
      await page.getByRole("heading", { name: "Create your account" }).waitFor();
      await page.getByRole("main").getByRole("link", { name: "Log in" }).click();
      await page.getByRole("heading", { name: "Welcome back" }).waitFor();
      await user.submitLogin();

      await page.getByRole("heading", { name: title }).waitFor();
      assert.equal(new URL(page.url()).search, "?seats=2");
    },
    { viewport },
  );
}

journey("signing up from the header leads back", async (user) => {
  const { page } = user;
  await page.goto(`/events/${event}`);
  await page.getByRole("banner").getByRole("link", { name: "Sign up" }).click();
  await user.fillRegistration();

  await page.getByRole("heading", { name: title }).waitFor();
});

journey("a registered email address is offered the login form, filled in", async (user) => {
  const { page } = user;
  await user.register();
  const again = await User.open();
  await again.page.goto(`/events/${event}`);
  await again.page.getByRole("banner").getByRole("link", { name: "Sign up" }).click();
  again.email = user.email;
  await again.fillRegistration();
  await again.waitForText("An account with this email address already exists.");
  await again.page.getByRole("link", { name: "Log in instead" }).click();
  assert.equal(await again.page.getByLabel("Email address").inputValue(), user.email);
  await again.page.getByLabel("Password").fill(user.password);
  await again.page.getByRole("main").getByRole("button", { name: "Log in" }).click();

  await again.page.getByRole("heading", { name: title }).waitFor();
  await again.close();
  await page.close();
});

browserTest("other tabs follow a login and a logout", async (user) => {
  const form = await user.context.newPage();
  await form.goto(`/login?next=/events/${event}`);
  await form.getByRole("heading", { name: "Welcome back" }).waitFor();
  await user.register();
  await form.getByRole("heading", { name: title }).waitFor();
  await form.goto("/me/bookings");
  await form.getByRole("heading", { name: "My bookings" }).waitFor();

  await user.button(/Account:/).click();
  await user.button("Log out").click();

  await form.getByRole("heading", { name: "Welcome back" }).waitFor();
});

browserTest("the list of bookings in another tab is updated", async (user) => {
  const { page } = user;
  await user.register();
  const list = await user.context.newPage();
  await list.goto("/me/bookings");
  await list.getByText("No bookings yet").waitFor();
  await page.goto(`/events/${event}`);
  await user.button("Book 1 free seat").click();
  await user.waitForText("You’re in!");
  await list.getByRole("listitem").filter({ hasText: title }).getByText("Confirmed").waitFor();
  await user.button("Cancel booking").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();

  await list.getByRole("listitem").filter({ hasText: title }).getByText("Cancelled").waitFor();
});

journey("a user changes name and password and ends other sessions", async (user) => {
  const { page } = user;
  await user.register();
  const elsewhere = await User.open();
  await elsewhere.logInAs(user);
  await page.goto("/me/account");
  await user.expectNoOverflow();
  await page.getByLabel("Name").fill("Ada Lovelace");
  await user.button("Save changes").click();
  await user.button("Account: Ada Lovelace").waitFor();
  const others = page.getByRole("listitem").filter({ has: page.getByRole("button", { name: "Log out" }) });
  await others.first().getByRole("button", { name: "Log out" }).click();
  await user.waitForText("Session ended");
  await page.getByText("This device").waitFor();
  assert.equal(await others.count(), 0);

  await page.getByLabel("Current password").fill("not this one");
  await page.getByLabel("New password").fill("another quiet evening");
  await user.button("Change password").click();
  await user.waitForAlert("That’s not your current password.");
  await page.getByLabel("Current password").fill(user.password);
  await user.button("Change password").click();
  await user.waitForText("Password changed.");
  await user.button(/Account:/).click();
  await user.button("Log out").click();
  await user.logInAs({ email: user.email, password: "another quiet evening" });
  await elsewhere.close();
});

browserTest("an attendee learns how to become an organizer, and requests it", async (user) => {
  const { page } = user;
  await user.register();
  await page.goto("/organizer");
  await user.waitForText("You can ask to become one in your account settings.");
  await page.goto("/me/account");
  await user.button("Ask to become an organizer").click();
  await user.waitForText("Your request has been sent.");
  await page.reload();

  await user.waitForText("Your request has been sent.");
});

browserTest("the language of an account applies to other browsers and to notifications", async (user) => {
  const { page } = user;
  await user.register();
  await page.goto(`/events/${event}`);
  await user.button("Book 1 free seat").click();
  await user.waitForText("You’re in!");
  await page.goto("/me/notifications");
  await page.getByRole("link", { name: "Booking confirmed" }).waitFor();
  await user.chooseLanguage("Deutsch");
  await page.getByRole("link", { name: "Buchung bestätigt" }).waitFor();
  await page.getByText(/^Deine Buchung \d+ \(1 Platz für/).waitFor();

  const elsewhere = await User.open();
  await elsewhere.logInAs(user);
  await elsewhere.button("Konto: Ada Attendee").waitFor();
  const news = elsewhere.page.getByRole("status").filter({ hasText: "Buchung bestätigt" });
  await elsewhere.page.goto(`/events/${event}`);
  await elsewhere.button("1 Platz kostenlos buchen").waitFor();
  await page.goto(`/events/${event}`);
  await user.button("1 Platz kostenlos buchen").click();
  await news.waitFor();
  await elsewhere.close();
});

browserTest("deleting an account cancels its upcoming bookings", async (user) => {
  const { page } = user;
  await user.register();
  await page.goto(`/events/${event}`);
  await user.button("Book 1 free seat").click();
  await user.waitForText("You’re in!");
  await page.goto("/me/account");
  await user.button("Delete account").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("1 booking will be cancelled").waitFor();
  await dialog.getByRole("listitem").filter({ hasText: title }).waitFor();
  await dialog.getByLabel("Password").fill(user.password);
  await dialog.getByRole("button", { name: "Delete account" }).click();

  await user.waitForText("Your account has been deleted.");
  await page.waitForURL((url) => url.pathname === "/");
  await page.getByRole("link", { name: "Log in" }).filter({ visible: true }).first().waitFor();
  await page.goto("/login");
  await user.submitLogin();
  await user.waitForAlert("Wrong email address or password.");
});

browserTest("a wrong password deletes no account", async (user) => {
  const { page } = user;
  await user.register();
  await page.goto("/me/account");
  await user.button("Delete account").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("You have no upcoming bookings.").waitFor();
  await dialog.getByLabel("Password").fill("not this one");
  await dialog.getByRole("button", { name: "Delete account" }).click();
  await dialog.getByText("That’s not your current password.").waitFor();
  await dialog.getByRole("button", { name: "Go back" }).click();
  await dialog.waitFor({ state: "detached" });

  await page.reload();
  await page.getByRole("heading", { name: "Account settings" }).waitFor();
  await user.button(/Account:/).waitFor();
});
