// The site as a whole: sessions, safety, accessibility, languages, weight, and a picture of every page.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before } from "node:test";
import { ORIGIN, PHONE, Person, SIZES, WIDE, administrator, goHome, unique, visit } from "./people.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
/** All that one page loads, pictures aside, before compression. */
const PAGE_BYTES = 100_000;

/** Two events to look at, and the organizer, whose account has seen everything. */
const scene = { event: "", free: "", email: "", password: "", booking: "" };

before(async () => {
  const organizer = await Person.arrives();
  await organizer.registers("organizer");
  scene.event = await organizer.publishes({ title: unique("Night shapes"), capacity: 120, price: "28" });
  scene.free = await organizer.publishes({ title: unique("What the sea remembers"), price: "0" });
  await organizer.reserves(scene.event, 2);
  await organizer.paysWith("Payment succeeds");
  await organizer.sees("You’re in!");
  scene.booking = new URL(organizer.page.url()).pathname;
  Object.assign(scene, { email: organizer.email, password: organizer.password });
  await organizer.leaves();
});
after(goHome);

/** @type {[string, () => string][]} */
const PUBLIC = [
  ["discover", () => "/"],
  ["no-results", () => "/?q=zzzzzz"],
  ["event", () => `/events/${scene.event}`],
  ["login", () => "/login"],
  ["register", () => "/register"],
  ["missing", () => "/nowhere"],
];
/** @type {[string, () => string][]} */
const PRIVATE = [
  ["bookings", () => "/me/bookings"],
  ["booking", () => scene.booking],
  ["notifications", () => "/me/notifications"],
  ["settings", () => "/me/account"],
  ["organizer", () => "/organizer"],
  ["organizer-new", () => "/organizer/events/new"],
  ["organizer-event", () => `/organizer/events/${scene.event}`],
  ["organizer-bookings", () => `/organizer/events/${scene.event}/bookings`],
];

for (const [size, viewport] of SIZES) {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    visit(
      `every page is accessible, fits and has its picture taken ${size}, ${colorScheme}`,
      async (person) => {
        const looks = async (/** @type {[string, () => string][]} */ pages, somebody = person) => {
          for (const [name, path] of pages) {
            await somebody.page.goto(path());
            await settled(somebody);
            await somebody.fitsTheScreen();
            await somebody.screenshot(`${name}-${viewport.width}-${colorScheme}`);
            await isAccessible(somebody);
          }
        };
        await looks(PUBLIC);
        await person.returns(scene);
        await looks(PRIVATE);
        await person.page.goto("/me/account");
        await person.button("Delete account").click();
        await person.page
          .getByRole("dialog")
          .getByText(/will be cancelled/)
          .waitFor();
        await person.fitsTheScreen();
        await person.screenshot(`deletion-${viewport.width}-${colorScheme}`);
        await isAccessible(person);
        await person.reserves(scene.event);
        await person.sees("Choose a test card");
        await person.screenshot(`payment-${viewport.width}-${colorScheme}`);
        await isAccessible(person);
        await person.paysWith("Card is declined");
        await person.isTold("declined");
        await person.screenshot(`declined-${viewport.width}-${colorScheme}`);
        await isAccessible(person);
        const admin = await Person.arrives({ viewport, colorScheme });
        await admin.returns(administrator());
        await looks([["admin", () => "/admin"]], admin);
        await admin.leaves();
      },
      { viewport, colorScheme },
    );
  }
}

visit("every page fits a phone’s screen, in every language, with and without an account", async (person) => {
  const { page } = person;
  for (const width of [320, 360]) {
    await page.setViewportSize({ width, height: 640 });
    for (const language of ["English", "Deutsch"]) {
      await page.context().clearCookies();
      await page.goto("/");
      await page.evaluate(() => localStorage.clear());
      await page.goto("/");
      await person.speaks(language);
      for (const [name, path] of PUBLIC) await fits(person, name, path());
      await person.returns(scene);
      for (const [name, path] of [...PRIVATE, ...PUBLIC]) await fits(person, name, path());
    }
  }
  await person.speaks("English");
});

/** @param {Person} person @param {string} name @param {string} path */
async function fits(person, name, path) {
  await person.page.goto(path);
  await settled(person);
  await person.fitsTheScreen();
  const { width = 0 } = person.page.viewportSize() ?? {};
  await person.screenshot(`${name}-${width}-${await person.page.locator("html").getAttribute("lang")}`);
}

visit("no page loads more than 100 KB before compression", async (person) => {
  await person.returns(scene);
  const storageState = await person.context.storageState();
  for (const [name, path] of [...PRIVATE, ...PUBLIC]) {
    const visitor = await Person.arrives({ storageState });
    await visitor.page.goto(path());
    await settled(visitor);
    const bytes = await visitor.page.evaluate(() => {
      const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
      const site = /** @type {PerformanceResourceTiming[]} */ (loaded).filter(
        ({ name: url, entryType }) => entryType === "navigation" || /\.(js|json|css|svg)$/.test(url),
      );
      return site.reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0);
    });
    await visitor.leaves();
    assert.ok(bytes > 50_000 && bytes < PAGE_BYTES, `${name} loads ${bytes} bytes`);
  }
});

visit("what an organizer writes stays text", async (organizer) => {
  const { page } = organizer;
  await organizer.returns(scene);
  const evil = `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>`;
  const id = await organizer.publishes({ title: `${unique("x")} ${evil}`, description: evil, venue: evil });
  for (const path of [
    "/",
    `/events/${id}`,
    "/organizer",
    `/organizer/events/${id}`,
    `/organizer/events/${id}/bookings`,
  ]) {
    await page.goto(path);
    await settled(organizer);
    assert.equal(await page.locator("main img").count(), 0);
    assert.equal(await page.locator("main script:not([type='application/ld+json'])").count(), 0);
    assert.doesNotMatch(await page.title(), /^pwned/);
  }
  const attendee = await Person.arrives();
  await attendee.page.goto("/register");
  await attendee.fillsRegistration("attendee", evil.slice(0, 100));
  await attendee.page.waitForURL((url) => url.pathname !== "/register");
  await attendee.reserves(id);
  await attendee.paysWith("Payment succeeds");
  await attendee.sees("You’re in!");
  await attendee.leaves();
  await page.goto(`/organizer/events/${id}/bookings`);
  await organizer.sees("<img src=x");
  await page.getByRole("rowheader", { name: "<img src=x" }).waitFor();
  assert.equal(await page.locator("main img").count(), 0);
  assert.doesNotMatch(await page.title(), /^pwned/);
  await organizer.page.goto(`/organizer/events/${id}`);
  await organizer.button("Cancel event").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel event" }).click();
  await organizer.sees("Event cancelled");
});

visit("scripts see no token, and inline script does not run", async (person) => {
  const { page } = person;
  await person.returns(scene);
  const seen = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert.doesNotMatch(seen, /eyJ|token|refresh/i);
  const cookies = await person.context.cookies();
  assert.ok(cookies.length > 0 && cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === "Strict"));

  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'ran'";
    document.body.append(script);
  });
  assert.notEqual(await page.title(), "ran");
  const refused = person.complaints.splice(0);
  assert.equal(refused.length, 1);
  assert.match(refused[0], /script-src 'self'/);
});

visit("a session goes on without the access cookie, and ends at logout", async (person) => {
  const { page } = person;
  await person.returns(scene);
  const cookies = await person.context.cookies();
  const access = cookies.reduce((first, cookie) => (cookie.expires < first.expires ? cookie : first));
  await person.context.clearCookies({ name: access.name });
  await page.goto("/me/bookings");
  await page.getByRole("heading", { name: "My bookings" }).waitFor();
  await page.getByRole("listitem").first().waitFor();

  await person.context.clearCookies();
  await page.goto("/me/notifications");
  await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await person.logsIn();
  await page.getByRole("heading", { name: "Notifications" }).waitFor();

  await person.button(/Account:/).click();
  await person.button("Log out").click();
  await page.getByRole("link", { name: "Sign up" }).first().waitFor();
  // The cookie by which a login knows the browser stays.
  const left = (await person.context.cookies()).filter(({ name }) => !name.endsWith("_device"));
  assert.deepEqual(left, []);
});

visit("the account menu stays open while the page still loads", async (person) => {
  const { page } = person;
  await person.registers();
  let answer = () => {};
  const opened = new Promise((resolve) => (answer = () => resolve(undefined)));
  await page.route("**/users/me", async (route) => {
    const response = await route.fetch();
    await opened;
    await route.fulfill({ response, json: { ...(await response.json()), name: "Another Name" } });
  });
  await page.goto("/");
  await person.button(/Account:/).click();
  await page.getByRole("link", { name: "Account settings" }).waitFor();
  answer();
  await page.locator("#account-menu").getByText("Another Name").waitFor();
  await page.getByRole("link", { name: "Account settings" }).click();
  await page.waitForURL("**/me/account");
  await page.locator("#account-menu").waitFor({ state: "hidden" });

  await person.button(/Account:/).click();
  await page.getByRole("link", { name: "Account settings" }).waitFor();
  await page.evaluate(() => history.back());
  await page.locator("#account-menu").waitFor({ state: "hidden" });
});

visit("errors stand beside the field they belong to", async (person) => {
  const { page } = person;
  await page.goto("/register");
  await person.button("Sign up").click();
  assert.equal(await page.getByLabel("Name").getAttribute("aria-invalid"), "true");
  await page.getByLabel("Email address").fill("nobody");
  await page.getByLabel("Email address").blur();
  await person.sees("Enter a valid email address.");
  Object.assign(person, { email: scene.email });
  await person.fillsRegistration();
  await person.sees("already exists");

  await page.goto("/login");
  Object.assign(person, { password: "not the password" });
  await person.logsIn();
  await person.isTold("Wrong email address or password");
});

visit("filters live in the address and survive the back button", async (person) => {
  const { page } = person;
  await page.goto("/");
  await page.getByRole("searchbox", { name: "Search events" }).fill("sea");
  await page.getByRole("radio", { name: "Technology" }).check();
  await page.waitForURL(/q=sea.*category=technology/);
  await page.getByRole("radio", { name: "All" }).check();
  await page.waitForURL((url) => url.search === "?q=sea");
  await page
    .getByRole("link", { name: /What the sea remembers/ })
    .first()
    .click();
  await page.getByRole("heading", { name: /What the sea remembers/ }).waitFor();
  await page.goBack();
  assert.equal(await page.getByRole("searchbox", { name: "Search events" }).inputValue(), "sea");
});

visit(
  "somebody who speaks German reads German",
  async (person) => {
    const { page } = person;
    await page.goto(`/events/${scene.event}`);
    await page.getByText("28 €").first().waitFor();
    await page.getByRole("button", { name: "Zum Buchen anmelden" }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "de");
    await person.screenshot("event-german");
    await page.getByLabel("Sprache").selectOption("English");
    await page.getByRole("button", { name: "Log in to book" }).waitFor();
  },
  { locale: "de-DE", viewport: PHONE },
);

visit(
  "nothing moves while a page loads",
  async (person) => {
    const { page } = person;
    await page.addInitScript(() => {
      Object.assign(globalThis, { shift: 0 });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
          const { value, hadRecentInput } =
            /** @type {{ value: number, hadRecentInput: boolean } & PerformanceEntry} */ (entry);
          if (!hadRecentInput) Reflect.set(globalThis, "shift", Reflect.get(globalThis, "shift") + value);
        }
      }).observe({ type: "layout-shift", buffered: true });
    });
    for (const path of ["/", `/events/${scene.event}`]) {
      await page.goto(path);
      await settled(person);
      const shift = await page.evaluate(() => Reflect.get(globalThis, "shift"));
      assert.ok(shift < 0.1, `${path} shifts by ${shift}`);
    }
  },
  { viewport: WIDE },
);

visit("what the address bar gets wrong is answered by the site", async (person) => {
  const answer = await person.page.goto("/nowhere");
  await person.page.getByRole("heading", { name: "Page not found" }).waitFor();

  assert.equal(answer?.status(), 404);
  assert.equal((await person.context.request.get(`${ORIGIN}/src/nothing.js`)).status(), 404);
});

/** The page has its heading and waits for nothing. @param {Person} person */
async function settled(person) {
  await person.page.getByRole("heading", { level: 1 }).first().waitFor();
  await person.page.waitForFunction(() => !document.querySelector(".skeleton, [aria-busy]"));
}

/** axe-core finds nothing. @param {Person} person */
async function isAccessible(person) {
  const axe = await readFile(AXE, "utf8");
  await person.page.evaluate(axe);
  const violations = await person.page.evaluate(async () => {
    const { violations: found } = await Reflect.get(globalThis, "axe").run(document, { resultTypes: ["violations"] });
    return found.map(
      (/** @type {any} */ one) => `${one.id}: ${one.nodes.map((/** @type {any} */ node) => node.html).join(" ")}`,
    );
  });
  assert.deepEqual(violations, [], person.page.url());
}

visit("a span of time that nobody offers means any time, and says so", async (visitor) => {
  await visitor.page.goto("/?when=bar");
  await visitor.page.getByRole("article").first().waitFor();

  assert.equal(await visitor.page.getByLabel("When").inputValue(), "any");
  assert.equal(new URL(visitor.page.url()).search, "");
});

visit("the choice of seats shows its limits", async (visitor) => {
  await visitor.page.goto(`/events/${scene.event}?seats=99`);
  const fewer = visitor.button("Remove one seat");
  const more = visitor.button("Add one seat");
  await visitor.page.getByText("10 at most").waitFor();

  assert.equal(await visitor.page.getByRole("spinbutton").inputValue(), "10");
  assert.deepEqual([await fewer.isDisabled(), await more.isDisabled()], [false, true]);
  await visitor.page.getByRole("spinbutton").fill("1");
  assert.deepEqual([await fewer.isDisabled(), await more.isDisabled()], [true, false]);
});

for (const width of [320, 360]) {
  visit(
    `an event elsewhere names its zone, in German at ${width} pixels`,
    async (visitor) => {
      await visitor.page.goto(`/events/${scene.event}`);
      await visitor.page.getByRole("heading", { name: "Über dieses Event" }).waitFor();

      await visitor.sees(/Uhr MEZ|Uhr MESZ/);
      const { right } = await visitor.page.locator(".chooser").evaluate((form) => form.getBoundingClientRect());
      assert.ok(right <= width, `${right}`);
    },
    { locale: "de-DE", timezoneId: "Asia/Tokyo", viewport: { width, height: 740 } },
  );
}

visit("what an address does not name is not found, and a slash at its end does not matter", async (person) => {
  const { page } = person;
  for (const path of ["/events/%00", "/events/no-such-event", "/events/a%20b"]) {
    const answer = await page.goto(path);
    assert.equal(answer?.status(), 404, path);
    await page.getByRole("heading", { name: "Page not found" }).waitFor();
  }
  await page.goto(`/events/${scene.event}/`);
  await page.getByRole("heading", { level: 1, name: /^Night shapes/ }).waitFor();
  assert.equal(new URL(page.url()).pathname, `/events/${scene.event}`);

  await person.returns(scene);
  await page.goto("/me/bookings/abc");
  await page.getByRole("heading", { name: "Page not found" }).waitFor();
  assert.doesNotMatch(await page.getByRole("main").innerText(), /parse/);
});
