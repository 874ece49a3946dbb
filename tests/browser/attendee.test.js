// An attendee's journeys: from registration to notification, and everything that can happen while paying.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { PHONE, Person, goHome, journey, unique, visit } from "./people.js";

const title = unique("Chamber music by candlelight");
let event = "";
let free = "";

before(async () => {
  const organizer = await Person.arrives();
  await organizer.registers("organizer");
  event = await organizer.publishes({ title, capacity: 200 });
  free = await organizer.publishes({ title: unique("Open rehearsal"), price: "0" });
  await organizer.leaves();
});
after(goHome);

journey("somebody registers, finds an event, books, pays and is notified @ingress", async (person) => {
  const { page } = person;
  await page.goto("/");
  await page.getByRole("searchbox", { name: "Search events" }).fill(title);
  await page.getByRole("link", { name: title }).click();
  await person.button("Add one seat").click();
  await person.button("Log in to book").click();
  await page.getByRole("main").getByRole("link", { name: "Sign up" }).click();
  await person.fillsRegistration();

  await page.getByRole("heading", { name: title }).waitFor();
  await person.button("Reserve 2 seats").click();
  await person.sees("We’re holding your seats for");
  await person.fitsTheScreen();
  await person.paysWith("Payment succeeds");

  await person.sees("You’re in!");
  await person.sees("Give your name or booking number at the door.");
  const number = new URL(page.url()).pathname.split("/").pop();
  await page
    .getByRole("definition")
    .filter({ hasText: `#${number}` })
    .waitFor();
  await person.fitsTheScreen();
  await page.getByRole("link", { name: "Notifications, 1 unread" }).click();
  const news = page.getByRole("listitem").filter({ hasText: title });
  await news.waitFor();
  await news.getByRole("link").click();
  await person.sees("You’re in!");
  await page.getByRole("link", { name: "Notifications", exact: true }).waitFor();
});

journey("a notification arrives in another tab while it is open", async (person) => {
  await person.registers();
  const other = await person.context.newPage();
  await other.goto("/");
  await other.getByRole("link", { name: "Notifications", exact: true }).waitFor();
  await person.reserves(event);
  await person.paysWith("Payment succeeds");
  await person.sees("You’re in!");
  await other.bringToFront();

  await other.getByRole("link", { name: "Notifications, 1 unread" }).waitFor();
});

journey("a declined card says why, and the next one works", async (person) => {
  await person.registers();
  await person.reserves(event);
  await person.paysWith("Card is declined");
  await person.isTold("Your card was declined");
  await person.paysWith("Payment succeeds");

  await person.sees("You’re in!");
});

journey("a payment that settles late shows its end by itself", async (person) => {
  await person.registers();
  await person.reserves(event);
  await person.paysWith("Payment takes a few seconds");
  await person.button("Processing payment…").waitFor();

  await person.page.getByText("You’re in!").waitFor({ timeout: 40_000 });
});

journey("a payment goes on after a reload", async (person) => {
  await person.registers();
  await person.reserves(event);
  await person.paysWith("Payment takes a few seconds");
  await person.button("Processing payment…").waitFor();
  await person.page.reload();

  await person.page.getByText("You’re in!").waitFor({ timeout: 40_000 });
});

journey("a gateway that fails before charging can be tried again", async (person) => {
  await person.registers();
  await person.reserves(event);
  await person.paysWith("Payment fails before charging");
  await person.isTold("You weren’t charged");
  await person.paysWith("Payment succeeds");

  await person.sees("You’re in!");
});

journey("a lost answer and a second click book once", async (person) => {
  const { page } = person;
  await person.registers();
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
  await person.button(/^Reserve/).dblclick();
  await page.waitForURL(/\/me\/bookings\/\d+$/);
  await page.goto("/me/bookings");

  await page.getByRole("link", { name: title }).first().waitFor();
  assert.equal(await page.getByRole("link", { name: title }).count(), 1);
  assert.equal(keys.length, 2);
  assert.equal(new Set(keys).size, 1);
});

journey("a free event is booked without payment and cancelled again", async (person) => {
  const { page } = person;
  await person.registers();
  await page.goto(`/events/${free}`);
  await person.button("Book 1 free seat").click();
  await person.sees("You’re in!");
  await person.button("Cancel booking").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();

  await person.sees("This booking has been cancelled.");
  assert.equal(
    await page
      .getByText(/\bpay\b|charged|refund/i)
      .filter({ visible: true })
      .count(),
    0,
  );
});

journey("a paid booking is cancelled and the money goes back", async (person) => {
  const { page } = person;
  await person.registers();
  await person.reserves(event, 2);
  await person.paysWith("Payment succeeds");
  await person.sees("You’re in!");
  await person.button("Cancel booking").click();
  await page.getByRole("dialog").getByText("you’ll get €25 back").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel booking" }).click();

  await page.getByText("Cancelled and refunded").first().waitFor({ timeout: 40_000 });
});

journey("a card whose bank goes silent is asked until it is known", async (person) => {
  await person.registers();
  await person.reserves(event);
  await person.paysWith("Bank doesn’t respond");

  await person.page.getByText("You’re in!").waitFor({ timeout: 90_000 });
});

journey("the last seat is gone when somebody else was faster", async (person) => {
  const { page } = person;
  await person.registers("organizer");
  const last = await person.publishes({ title: unique("A table for one"), capacity: 1 });
  await page.goto(`/events/${last}`);
  await person.sees("Last seat");
  const faster = await Person.arrives();
  await faster.registers();
  await faster.reserves(last);
  await person.button("Reserve 1 seat").click();

  await person.sees("Sold out");
  await person.sees("Seats that aren’t paid for go back on sale.");
  await faster.leaves();
});

journey("a session that ended is no end: log in, and pay once more", async (person) => {
  const { page } = person;
  await person.registers();
  await person.reserves(event);
  await person.sees("Choose a test card");
  await person.context.clearCookies();
  await person.paysWith("Payment takes a few seconds");
  await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await person.logsIn();
  await person.sees("please confirm your payment once more");
  assert.ok(await page.getByRole("radio", { name: "Payment takes a few seconds" }).isChecked());
  await person.paysWith("Payment succeeds");

  await person.sees("You’re in!");
});

journey("held seats are shown at the event, and given back from there or from the booking", async (person) => {
  const { page } = person;
  await person.registers();
  await person.reserves(event, 2);
  await page.goto(`/events/${event}`);
  await person.sees(/We’re holding 2 seats for you until/);
  await page.getByRole("link", { name: "Continue to payment" }).click();
  await person.button("Release seats").click();
  await page.getByRole("dialog").getByRole("button", { name: "Release seats" }).click();
  await person.sees("These seats are back on sale. You weren’t charged.");

  await person.reserves(event);
  await page.goto(`/events/${event}`);
  await person.button("Release seats").click();
  await page.getByRole("dialog").getByRole("button", { name: "Release seats" }).click();
  await page.getByRole("link", { name: "Continue to payment" }).waitFor({ state: "detached" });
  await page.goto("/me/bookings");
  await page.getByRole("listitem").nth(1).waitFor();
  assert.equal(await page.getByRole("listitem").filter({ hasText: "Cancelled" }).count(), 2);
});

journey("a payment form that could not begin is tried again", async (person) => {
  const { page } = person;
  await person.registers();
  let asked = 0;
  await page.route("**/payments/config", (route) => (asked++ < 3 ? route.abort() : route.continue()));
  await person.reserves(event);
  await person.isTold("No connection");
  await person.button("Try again").click();
  await person.paysWith("Payment succeeds");

  await person.sees("You’re in!");
});

journey("a payment that is being processed is no failure", async (person) => {
  const { page } = person;
  await person.registers();
  await person.reserves(event);
  await person.paysWith("Payment takes a few seconds");
  await page.getByRole("status").filter({ hasText: "Your payment is being processed." }).waitFor();
  await page.reload();
  await page.getByRole("status").filter({ hasText: "Your payment is being processed." }).waitFor();

  assert.equal(await page.getByRole("alert").filter({ visible: true }).count(), 0);
  await page.getByText("You’re in!").waitFor({ timeout: 40_000 });
});

visit(
  "on a phone one sees what one buys before one pays",
  async (person) => {
    await person.registers();
    await person.reserves(event, 2);
    const pay = person.button(/^Pay /);
    await pay.waitFor();
    const top = async (/** @type {import("playwright-core").Locator} */ part) => (await part.boundingBox())?.y ?? NaN;

    for (const part of [
      person.page.getByRole("heading", { name: title }),
      person.page.getByText("€25", { exact: true }),
    ])
      assert.ok((await top(part)) < (await top(person.page.getByRole("timer"))));
    assert.ok((await top(person.page.getByRole("timer"))) < 740, "the time that is left is on the first screen");
  },
  { viewport: PHONE },
);

journey("a hold that runs out is told plainly", async (person) => {
  const { page } = person;
  await person.registers();
  await person.reserves(event);
  const expires = new Date(Date.now() + 3000).toISOString();
  await page.route(/\/bookings\/\d+$/, async (route) => {
    if (route.request().resourceType() !== "fetch") return route.continue();
    const response = await route.fetch();
    const status = Date.now() > Date.parse(expires) + 1000 ? "Expired" : "Pending";
    await route.fulfill({ response, json: { ...(await response.json()), expires_at: expires, status } });
  });
  await page.reload();
  await page.getByRole("timer").filter({ hasText: /^0:0/ }).waitFor();

  await person.sees("We didn’t receive your payment in time");
  await page.getByRole("link", { name: "Book again" }).waitFor();
});

journey("without a network the payment waits, and is charged once", async (person) => {
  const { page } = person;
  await person.registers();
  await person.reserves(event);
  /** @type {(string | undefined)[]} */
  const keys = [];
  await page.route("**/payments", (route) => {
    keys.push(route.request().headers()["idempotency-key"]);
    return keys.length > 3 ? route.continue() : route.abort("internetdisconnected");
  });
  await person.paysWith("Payment succeeds");
  await person.isTold("you won’t be charged twice");
  await person.button(/^Pay /).click();

  await person.sees("You’re in!");
  assert.equal(keys.length, 4);
  assert.equal(new Set(keys).size, 1);
});

visit(
  "a whole booking by keyboard alone",
  async (person) => {
    const { page } = person;
    await person.registers();
    await page.goto(`/events/${event}`);
    await press(person, "Tab", /^Reserve/);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/me\/bookings\/\d+$/);
    await person.sees("Choose a test card");
    await press(person, "Tab", /Payment succeeds/);
    await press(person, "Tab", /^Pay/);
    await page.keyboard.press("Enter");

    await person.sees("You’re in!");
  },
  { viewport: PHONE },
);

/** What Stripe.js does, as far as the page can tell: a form in its place, and a token for the card that was typed. */
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

journey("with Stripe the card is typed into Stripe's own form", async (person) => {
  const { page } = person;
  await person.registers();
  await page.route("**/payments/config", (route) =>
    route.fulfill({ json: { provider: "stripe", publishable_key: "pk_test_ours" } }),
  );
  await page.route("https://js.stripe.com/**", (route) =>
    route.fulfill({ contentType: "text/javascript", body: STRIPE_JS }),
  );
  // The security policy of a site whose provider is Stripe; frontend/server/tests shows that this is its policy.
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
  await person.reserves(event, 2);
  await person.sees("pk_test_ours 2500 eur");
  await person.button(/^Pay /).click();
  await person.isTold("Your card number is incomplete.");
  await page.getByLabel("Card number").fill("4242 4242 4242 4242");
  await person.button(/^Pay /).click();

  await person.sees("You’re in!");
});

journey("when Stripe's form does not come, the page says so", async (person) => {
  await person.registers();
  await person.page.route("**/payments/config", (route) =>
    route.fulfill({ json: { provider: "stripe", publishable_key: "pk_test_ours" } }),
  );
  await person.reserves(event);

  await person.isTold("No connection");
  assert.ok(await person.button(/^Pay /).isDisabled());
  assert.match(person.complaints.splice(0).join(), /js\.stripe\.com/);
});

/** Presses `key` until what is focused is called `name`. @param {Person} person @param {string} key @param {RegExp} name */
async function press(person, key, name) {
  for (let presses = 0; presses < 60; presses++) {
    await person.page.keyboard.press(key);
    const focused = await person.page.evaluate(() => {
      const element = document.activeElement;
      const label = element instanceof HTMLInputElement ? element.labels?.[0] : element;
      return label?.textContent?.trim() ?? "";
    });
    if (name.test(focused)) return;
  }
  assert.fail(`${name} cannot be reached with ${key}`);
}
