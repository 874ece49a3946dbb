// An attendee's journeys: from registration to notification, and the outcomes of payments.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { PHONE, User, closeBrowser, journey, unique, browserTest } from "./user.js";

const title = unique("Chamber music by candlelight");
let event = "";
let free = "";

before(async () => {
  const organizer = await User.open();
  await organizer.register("organizer");
  event = await organizer.publish({ title, capacity: 200 });
  free = await organizer.publish({ title: unique("Open rehearsal"), price: "0" });
  await organizer.close();
});
after(closeBrowser);

journey("a visitor registers, finds an event, books, pays and is notified @ingress", async (user) => {
  const { page } = user;
  await page.goto("/");
  await page.getByRole("searchbox", { name: "Search events" }).fill(title);
  await page.getByRole("link", { name: title }).click();
  await user.button("Add one seat").click();
  await user.button("Log in to book").click();
  await page.getByRole("main").getByRole("link", { name: "Sign up" }).click();
  await user.fillRegistration();

  await page.getByRole("heading", { name: title }).waitFor();
  await user.button("Reserve 2 seats").click();
  await user.waitForText("We’re holding your seats for");
  await user.expectNoOverflow();
  await user.payWith("Payment succeeds");

  await user.waitForText("You’re in!");
  await user.waitForText("Show your ticket’s QR code at the door.");
  const number = new URL(page.url()).pathname.split("/").pop();
  await page
    .getByRole("definition")
    .filter({ hasText: `#${number}` })
    .waitFor();
  await user.expectNoOverflow();
  await page.getByRole("link", { name: "Notifications, 1 unread" }).click();
  const news = page.getByRole("listitem").filter({ hasText: title });
  await news.waitFor();
  await news.getByRole("link").click();
  await user.waitForText("You’re in!");
  await page.getByRole("link", { name: "Notifications", exact: true }).waitFor();
});

journey("a notification arrives in another tab while it is open", async (user) => {
  await user.register();
  const other = await user.context.newPage();
  await other.goto("/");
  await other.getByRole("link", { name: "Notifications", exact: true }).waitFor();
  await user.reserve(event);
  await user.payWith("Payment succeeds");
  await user.waitForText("You’re in!");
  await other.bringToFront();

  await other.getByRole("link", { name: "Notifications, 1 unread" }).waitFor();
});

journey("a declined card shows the reason, and another card works", async (user) => {
  await user.register();
  await user.reserve(event);
  await user.payWith("Card is declined");
  await user.waitForAlert("Your card was declined");
  await user.payWith("Payment succeeds");

  await user.waitForText("You’re in!");
});

journey("a late payment shows its result without a reload", async (user) => {
  await user.register();
  await user.reserve(event);
  await user.payWith("Payment takes a few seconds");
  await user.button("Processing payment…").waitFor();

  await user.page.getByText("You’re in!").waitFor({ timeout: 40_000 });
});

journey("a payment continues after a reload", async (user) => {
  await user.register();
  await user.reserve(event);
  await user.payWith("Payment takes a few seconds");
  await user.button("Processing payment…").waitFor();
  await user.page.reload();

  await user.page.getByText("You’re in!").waitFor({ timeout: 40_000 });
});

journey("a payment that failed before charging can be retried", async (user) => {
  await user.register();
  await user.reserve(event);
  await user.payWith("Payment fails before charging");
  await user.waitForAlert("You weren’t charged");
  await user.payWith("Payment succeeds");

  await user.waitForText("You’re in!");
});

journey("a lost response and a second click make one booking", async (user) => {
  const { page } = user;
  await user.register();
  /** @type {(string | undefined)[]} */
  const keys = [];
  let lost = 0;
  await page.route("**/bookings", async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    keys.push(route.request().headers()["idempotency-key"]);
    if (lost++) return route.continue();
    await route.fetch();
    await route.abort("connectionreset");
  });
  await page.goto(`/events/${event}`);
  await user.button(/^Reserve/).dblclick();
  await page.waitForURL(/\/me\/bookings\/\d+$/);
  await page.goto("/me/bookings");

  await page.getByRole("link", { name: title }).first().waitFor();
  assert.equal(await page.getByRole("link", { name: title }).count(), 1);
  assert.equal(keys.length, 2);
  assert.equal(new Set(keys).size, 1);
});

journey("a free event is booked without payment and cancelled again", async (user) => {
  const { page } = user;
  await user.register();
  await page.goto(`/events/${free}`);
  await user.button("Book 1 free seat").click();
  await user.waitForText("You’re in!");
  await user.button("Cancel booking").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();

  await user.waitForText("This booking has been cancelled.");
  assert.equal(
    await page
      .getByText(/\bpay\b|charged|refund/i)
      .filter({ visible: true })
      .count(),
    0,
  );
});

journey("a paid booking is cancelled and refunded", async (user) => {
  const { page } = user;
  await user.register();
  await user.reserve(event, 2);
  await user.payWith("Payment succeeds");
  await user.waitForText("You’re in!");
  await user.button("Cancel booking").click();
  await page.getByRole("dialog").getByText("you’ll get €25 back").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();

  await page.getByText("Cancelled and refunded").first().waitFor({ timeout: 40_000 });
});

journey("a payment without a response is polled until its result is known", async (user) => {
  await user.register();
  await user.reserve(event);
  await user.payWith("Bank doesn’t respond");

  await user.page.getByText("You’re in!").waitFor({ timeout: 90_000 });
});

journey("the last seat is sold out after another user reserved it", async (user) => {
  const { page } = user;
  await user.register("organizer");
  const last = await user.publish({ title: unique("A table for one"), capacity: 1 });
  await page.goto(`/events/${last}`);
  await user.waitForText("Last seat");
  const faster = await User.open();
  await faster.register();
  await faster.reserve(last);
  await user.button("Reserve 1 seat").click();

  await user.waitForText("Sold out");
  await user.waitForText("Seats that aren’t paid for go back on sale.");
  await faster.close();
});

journey("after the session ended, the user logs in and confirms the payment again", async (user) => {
  const { page } = user;
  await user.register();
  await user.reserve(event);
  await user.waitForText("Choose a test card");
  await user.context.clearCookies();
  await user.payWith("Payment takes a few seconds");
  await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await user.submitLogin();
  await user.waitForText("please confirm your payment once more");
  assert.ok(await page.getByRole("radio", { name: "Payment takes a few seconds" }).isChecked());
  await user.payWith("Payment succeeds");

  await user.waitForText("You’re in!");
});

journey("held seats are shown on the page of the event, and released there or on that of the booking", async (user) => {
  const { page } = user;
  await user.register();
  await user.reserve(event, 2);
  await page.goto(`/events/${event}`);
  await user.waitForText(/We’re holding 2 seats for you until/);
  await page.getByRole("link", { name: "Continue to payment" }).click();
  await user.button("Release seats").click();
  await page.getByRole("dialog").getByRole("button", { name: "Release seats" }).click();
  await user.waitForText("These seats are back on sale. You weren’t charged.");

  await user.reserve(event);
  await page.goto(`/events/${event}`);
  await user.button("Release seats").click();
  await page.getByRole("dialog").getByRole("button", { name: "Release seats" }).click();
  await page.getByRole("link", { name: "Continue to payment" }).waitFor({ state: "detached" });
  await page.goto("/me/bookings");
  await page.getByRole("listitem").nth(1).waitFor();
  assert.equal(await page.getByRole("listitem").filter({ hasText: "Cancelled" }).count(), 2);
});

journey("a payment form that failed to load can be retried", async (user) => {
  const { page } = user;
  await user.register();
  let requests = 0;
  await page.route("**/payments/config", (route) => (requests++ < 3 ? route.abort() : route.continue()));
  await user.reserve(event);
  await user.waitForAlert("No connection");
  await user.button("Try again").click();
  await user.payWith("Payment succeeds");

  await user.waitForText("You’re in!");
});

journey("a payment in progress is not shown as a failure", async (user) => {
  const { page } = user;
  await user.register();
  await user.reserve(event);
  await user.payWith("Payment takes a few seconds");
  await page.getByRole("status").filter({ hasText: "Your payment is being processed." }).waitFor();
  await page.reload();
  await page.getByRole("status").filter({ hasText: "Your payment is being processed." }).waitFor();

  assert.equal(await page.getByRole("alert").filter({ visible: true }).count(), 0);
  await page.getByText("You’re in!").waitFor({ timeout: 40_000 });
});

browserTest(
  "on a phone the booking is shown above the payment",
  async (user) => {
    await user.register();
    await user.reserve(event, 2);
    const pay = user.button(/^Pay /);
    await pay.waitFor();
    const top = async (/** @type {import("playwright-core").Locator} */ part) => (await part.boundingBox())?.y ?? NaN;

    for (const part of [user.page.getByRole("heading", { name: title }), user.page.getByText("€25", { exact: true })])
      assert.ok((await top(part)) < (await top(user.page.getByRole("timer"))));
    assert.ok((await top(user.page.getByRole("timer"))) < 740, "the remaining time is on the first screen");
  },
  { viewport: PHONE },
);

journey("an expired hold is explained", async (user) => {
  const { page } = user;
  await user.register();
  await user.reserve(event);
  const expires = new Date(Date.now() + 3000).toISOString();
  await page.route(/\/bookings\/\d+$/, async (route) => {
    if (route.request().resourceType() !== "fetch") return route.continue();
    const response = await route.fetch();
    const status = Date.now() > Date.parse(expires) + 1000 ? "Expired" : "Pending";
    await route.fulfill({ response, json: { ...(await response.json()), expires_at: expires, status } });
  });
  await page.reload();
  await page.getByRole("timer").filter({ hasText: /^0:0/ }).waitFor();

  await user.waitForText("We didn’t receive your payment in time");
  await page.getByRole("link", { name: "Book again" }).waitFor();
});

journey("a payment is retried after a network failure and charged once", async (user) => {
  const { page } = user;
  await user.register();
  await user.reserve(event);
  /** @type {(string | undefined)[]} */
  const keys = [];
  await page.route("**/payments", (route) => {
    keys.push(route.request().headers()["idempotency-key"]);
    return keys.length > 3 ? route.continue() : route.abort("internetdisconnected");
  });
  await user.payWith("Payment succeeds");
  await user.waitForAlert("you won’t be charged twice");
  await user.button(/^Pay /).click();

  await user.waitForText("You’re in!");
  assert.equal(keys.length, 4);
  assert.equal(new Set(keys).size, 1);
});

browserTest(
  "an event is booked with the keyboard alone",
  async (user) => {
    const { page } = user;
    await user.register();
    await page.goto(`/events/${event}`);
    await press(user, "Tab", /^Reserve/);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/me\/bookings\/\d+$/);
    await user.waitForText("Choose a test card");
    await press(user, "Tab", /Payment succeeds/);
    await press(user, "Tab", /^Pay/);
    await page.keyboard.press("Enter");

    await user.waitForText("You’re in!");
  },
  { viewport: PHONE },
);

/** A substitute for Stripe.js: a form, and a payment method for the entered card. */
const STRIPE_JS = `window.Stripe = (key) => ({
  elements: (options) => ({
    create: () => ({
      mount: (place) => {
        place.innerHTML = "<label>Card number <input id=card></label>";
        place.append(key + " " + options.amount + " " + options.currency);
      },
    }),
    submit: async () => (document.querySelector("#card").value ? {} : { error: { message: "Your card number is incomplete." } }),
  }),
  createPaymentMethod: async () => ({ paymentMethod: { id: "pm_card_visa" } }),
});`;

journey("with Stripe the card is entered in Stripe's form", async (user) => {
  const { page } = user;
  await user.register();
  await page.route("**/payments/config", (route) =>
    route.fulfill({ json: { provider: "stripe", publishable_key: "pk_test_ours" } }),
  );
  await page.route("https://js.stripe.com/**", (route) =>
    route.fulfill({ contentType: "text/javascript", body: STRIPE_JS }),
  );
  // The security policy of a site with Stripe, which a test in frontend/server/tests verifies.
  await page.route(/\/events\/[\w-]+$/, async (route) => {
    if (route.request().resourceType() !== "document") return route.continue();
    const response = await route.fetch();
    const policy = response.headers()["content-security-policy"];
    const headers = {
      ...response.headers(),
      "content-security-policy": policy.replace("script-src 'self'", "script-src 'self' https://js.stripe.com"),
    };
    await route.fulfill({ response, headers });
  });
  await user.reserve(event, 2);
  await user.waitForText("pk_test_ours 2500 eur");
  await user.button(/^Pay /).click();
  await user.waitForAlert("Your card number is incomplete.");
  await page.getByLabel("Card number").fill("4242 4242 4242 4242");
  await user.button(/^Pay /).click();

  await user.waitForText("You’re in!");
});

journey("the page shows an error when Stripe's form fails to load", async (user) => {
  await user.register();
  await user.page.route("**/payments/config", (route) =>
    route.fulfill({ json: { provider: "stripe", publishable_key: "pk_test_ours" } }),
  );
  await user.reserve(event);

  await user.waitForAlert("No connection");
  assert.ok(await user.button(/^Pay /).isDisabled());
  assert.match(user.errors.splice(0).join(), /js\.stripe\.com/);
});

/** Presses `key` until the focused element is named `name`. @param {User} user @param {string} key @param {RegExp} name */
async function press(user, key, name) {
  for (let presses = 0; presses < 60; presses++) {
    await user.page.keyboard.press(key);
    const focused = await user.page.evaluate(() => {
      const element = document.activeElement;
      const label = element instanceof HTMLInputElement ? element.labels?.[0] : element;
      return label?.textContent?.trim() ?? "";
    });
    if (name.test(focused)) return;
  }
  assert.fail(`${name} cannot be reached with ${key}`);
}
