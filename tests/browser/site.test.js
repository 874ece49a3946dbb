// The site as a whole: sessions, security, accessibility, languages, size, and a screenshot of every page.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before } from "node:test";
import { ORIGIN, PHONE, User, SIZES, WIDE, administrator, closeBrowser, unique, browserTest } from "./user.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
/** The limit of what a page loads, without pictures and before compression. */
const PAGE_BYTES = 120_000;

/** Two events, and an organizer who also has a booking. */
const fixture = { event: "", free: "", email: "", password: "", booking: "", ticket: "" };

before(async () => {
  const organizer = await User.open();
  await organizer.register("organizer");
  fixture.event = await organizer.publish({ title: unique("Night shapes"), capacity: 120, price: "28" });
  fixture.free = await organizer.publish({ title: unique("What the sea remembers"), price: "0" });
  await organizer.reserve(fixture.event, 2);
  await organizer.payWith("Payment succeeds");
  await organizer.waitForText("You’re in!");
  fixture.booking = new URL(organizer.page.url()).pathname;
  const ticket = organizer.page.getByRole("link", { name: /^Show ticket/ });
  fixture.ticket = (await ticket.getAttribute("href")) ?? "";
  Object.assign(fixture, { email: organizer.email, password: organizer.password });
  await organizer.close();
});
after(closeBrowser);

/** @type {[string, () => string][]} */
const PUBLIC = [
  ["discover", () => "/"],
  ["no-results", () => "/?q=zzzzzz"],
  ["event", () => `/events/${fixture.event}`],
  ["login", () => "/login"],
  ["register", () => "/register"],
  ["missing", () => "/nowhere"],
];
/** @type {[string, () => string][]} */
const PRIVATE = [
  ["bookings", () => "/me/bookings"],
  ["booking", () => fixture.booking],
  ["ticket", () => fixture.ticket],
  ["scan", () => `/scan?event=${fixture.event}`],
  ["notifications", () => "/me/notifications"],
  ["settings", () => "/me/account"],
  ["organizer", () => "/organizer"],
  ["organizer-new", () => "/organizer/events/new"],
  ["organizer-event", () => `/organizer/events/${fixture.event}`],
  ["organizer-bookings", () => `/organizer/events/${fixture.event}/bookings`],
];

for (const [size, viewport] of SIZES) {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    browserTest(
      `every page is accessible and fits the screen ${size}, ${colorScheme}`,
      async (user) => {
        const checkPages = async (/** @type {[string, () => string][]} */ pages, visitor = user) => {
          for (const [name, path] of pages) {
            await visitor.page.goto(path());
            await waitUntilLoaded(visitor);
            await visitor.expectNoOverflow();
            await visitor.screenshot(`${name}-${viewport.width}-${colorScheme}`);
            await expectAccessible(visitor);
          }
        };
        await checkPages(PUBLIC);
        await user.logInAs(fixture);
        await checkPages(PRIVATE);
        await user.page.goto("/me/account");
        await user.button("Delete account").click();
        await user.page
          .getByRole("dialog")
          .getByText(/will be cancelled/)
          .waitFor();
        await user.expectNoOverflow();
        await user.screenshot(`deletion-${viewport.width}-${colorScheme}`);
        await expectAccessible(user);
        await user.reserve(fixture.event);
        await user.waitForText("Choose a test card");
        await user.screenshot(`payment-${viewport.width}-${colorScheme}`);
        await expectAccessible(user);
        await user.payWith("Card is declined");
        await user.waitForAlert("declined");
        await user.screenshot(`declined-${viewport.width}-${colorScheme}`);
        await expectAccessible(user);
        const admin = await User.open({ viewport, colorScheme });
        await admin.logInAs(administrator());
        await checkPages([["admin", () => "/admin"]], admin);
        await admin.close();
      },
      { viewport, colorScheme },
    );
  }
}

browserTest("every page fits a phone’s screen, in every language, with and without an account", async (user) => {
  const { page } = user;
  for (const width of [320, 360]) {
    await page.setViewportSize({ width, height: 640 });
    for (const language of ["English", "Deutsch"]) {
      await page.context().clearCookies();
      await page.goto("/");
      await page.evaluate(() => localStorage.clear());
      await page.goto("/");
      await user.chooseLanguage(language);
      for (const [name, path] of PUBLIC) await expectFits(user, name, path());
      await user.logInAs(fixture);
      for (const [name, path] of [...PRIVATE, ...PUBLIC]) await expectFits(user, name, path());
    }
  }
  await user.chooseLanguage("English");
});

/** @param {User} user @param {string} name @param {string} path */
async function expectFits(user, name, path) {
  await user.page.goto(path);
  await waitUntilLoaded(user);
  await user.expectNoOverflow();
  const { width = 0 } = user.page.viewportSize() ?? {};
  await user.screenshot(`${name}-${width}-${await user.page.locator("html").getAttribute("lang")}`);
}

browserTest("no page loads more than 120 KB before compression", async (user) => {
  await user.logInAs(fixture);
  const storageState = await user.context.storageState();
  for (const [name, path] of [...PRIVATE, ...PUBLIC]) {
    const visitor = await User.open({ storageState });
    await visitor.page.goto(path());
    await waitUntilLoaded(visitor);
    const bytes = await visitor.page.evaluate(() => {
      const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
      const site = /** @type {PerformanceResourceTiming[]} */ (loaded).filter(
        // Neither what is fetched again for times without a network, nor the decoder of the scanner.
        ({ name: url, entryType, initiatorType }) =>
          entryType === "navigation" || (initiatorType !== "fetch" && /(?<!\/decode)\.(js|json|css|svg)$/.test(url)),
      );
      return site.reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0);
    });
    await visitor.close();
    assert.ok(bytes > 50_000 && bytes < PAGE_BYTES, `${name} loads ${bytes} bytes`);
  }
});

browserTest("markup in texts of users is not interpreted", async (organizer) => {
  const { page } = organizer;
  await organizer.logInAs(fixture);
  const evil = `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>`;
  const id = await organizer.publish({ title: `${unique("x")} ${evil}`, description: evil, venue: evil });
  for (const path of [
    "/",
    `/events/${id}`,
    "/organizer",
    `/organizer/events/${id}`,
    `/organizer/events/${id}/bookings`,
  ]) {
    await page.goto(path);
    await waitUntilLoaded(organizer);
    assert.equal(await page.locator("main img").count(), 0);
    assert.equal(await page.locator("main script:not([type='application/ld+json'])").count(), 0);
    assert.doesNotMatch(await page.title(), /^pwned/);
  }
  const attendee = await User.open();
  await attendee.page.goto("/register");
  await attendee.fillRegistration("attendee", evil.slice(0, 100));
  await attendee.page.waitForURL((url) => url.pathname !== "/register");
  await attendee.reserve(id);
  await attendee.payWith("Payment succeeds");
  await attendee.waitForText("You’re in!");
  await attendee.close();
  await page.goto(`/organizer/events/${id}/bookings`);
  await organizer.waitForText("<img src=x");
  await page.getByRole("rowheader", { name: "<img src=x" }).waitFor();
  assert.equal(await page.locator("main img").count(), 0);
  assert.doesNotMatch(await page.title(), /^pwned/);
  await organizer.page.goto(`/organizer/events/${id}`);
  await organizer.button("Cancel event").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel event" }).click();
  await organizer.waitForText("Event cancelled");
});

browserTest("scripts cannot read tokens, and inline scripts do not run", async (user) => {
  const { page } = user;
  await user.logInAs(fixture);
  const visible = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert.doesNotMatch(visible, /eyJ|token|refresh/i);
  const cookies = await user.context.cookies();
  assert.ok(cookies.length > 0 && cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === "Strict"));

  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'ran'";
    document.body.append(script);
  });
  assert.notEqual(await page.title(), "ran");
  const violations = user.errors.splice(0);
  assert.equal(violations.length, 1);
  assert.match(violations[0], /script-src 'self'/);
});

browserTest("a session is refreshed without the access cookie, and ends with the logout", async (user) => {
  const { page } = user;
  await user.logInAs(fixture);
  const cookies = await user.context.cookies();
  const access = cookies.reduce((first, cookie) => (cookie.expires < first.expires ? cookie : first));
  await user.context.clearCookies({ name: access.name });
  await page.goto("/me/bookings");
  await page.getByRole("heading", { name: "My bookings" }).waitFor();
  await page.getByRole("listitem").first().waitFor();

  await user.context.clearCookies();
  await page.goto("/me/notifications");
  await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await user.submitLogin();
  await page.getByRole("heading", { name: "Notifications" }).waitFor();

  await user.button(/Account:/).click();
  await user.button("Log out").click();
  await page.getByRole("link", { name: "Sign up" }).first().waitFor();
  // The cookie that identifies the browser at a login stays.
  const left = (await user.context.cookies()).filter(({ name }) => !name.endsWith("_device"));
  assert.deepEqual(left, []);
});

browserTest("the account menu stays open while the session loads", async (user) => {
  const { page } = user;
  await user.register();
  let answer = () => {};
  const opened = new Promise((resolve) => (answer = () => resolve(undefined)));
  await page.route("**/users/me", async (route) => {
    const response = await route.fetch();
    await opened;
    await route.fulfill({ response, json: { ...(await response.json()), name: "Another Name" } });
  });
  await page.goto("/");
  await user.button(/Account:/).click();
  await page.getByRole("link", { name: "Account settings" }).waitFor();
  answer();
  await page.locator("#account-menu").getByText("Another Name").waitFor();
  await page.getByRole("link", { name: "Account settings" }).click();
  await page.waitForURL("**/me/account");
  await page.locator("#account-menu").waitFor({ state: "hidden" });

  await user.button(/Account:/).click();
  await page.getByRole("link", { name: "Account settings" }).waitFor();
  await page.evaluate(() => history.back());
  await page.locator("#account-menu").waitFor({ state: "hidden" });
});

browserTest("errors are shown beside their fields", async (user) => {
  const { page } = user;
  await page.goto("/register");
  await user.button("Sign up").click();
  assert.equal(await page.getByLabel("Name").getAttribute("aria-invalid"), "true");
  await page.getByLabel("Email address").fill("nobody");
  await page.getByLabel("Email address").blur();
  await user.waitForText("Enter a valid email address.");
  Object.assign(user, { email: fixture.email });
  await user.fillRegistration();
  await user.waitForText("already exists");

  await page.goto("/login");
  Object.assign(user, { password: "not the password" });
  await user.submitLogin();
  await user.waitForAlert("Wrong email address or password");
});

browserTest("filters are in the URL and survive the back button", async (user) => {
  const { page } = user;
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

browserTest(
  "a German browser gets the site in German",
  async (user) => {
    const { page } = user;
    await page.goto(`/events/${fixture.event}`);
    await page.getByText("28 €").first().waitFor();
    await page.getByRole("button", { name: "Zum Buchen anmelden" }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "de");
    await user.screenshot("event-german");
    await page.getByLabel("Sprache").selectOption("English");
    await page.getByRole("button", { name: "Log in to book" }).waitFor();
  },
  { locale: "de-DE", viewport: PHONE },
);

browserTest(
  "the layout does not shift while a page loads",
  async (user) => {
    const { page } = user;
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
    for (const path of ["/", `/events/${fixture.event}`]) {
      await page.goto(path);
      await waitUntilLoaded(user);
      const shift = await page.evaluate(() => Reflect.get(globalThis, "shift"));
      assert.ok(shift < 0.1, `${path} shifts by ${shift}`);
    }
  },
  { viewport: WIDE },
);

browserTest("an unknown path shows the site's error page", async (user) => {
  const answer = await user.page.goto("/nowhere");
  await user.page.getByRole("heading", { name: "Page not found" }).waitFor();

  assert.equal(answer?.status(), 404);
  assert.equal((await user.context.request.get(`${ORIGIN}/src/nothing.js`)).status(), 404);
});

/** Waits until the page has loaded. @param {User} user */
async function waitUntilLoaded(user) {
  await user.page.getByRole("heading", { level: 1 }).first().waitFor();
  await user.page.waitForFunction(() => !document.querySelector(".skeleton, [aria-busy]"));
}

/** Checks with axe-core. @param {User} user */
async function expectAccessible(user) {
  const axe = await readFile(AXE, "utf8");
  await user.page.evaluate(axe);
  const violations = await user.page.evaluate(async () => {
    const { violations: found } = await Reflect.get(globalThis, "axe").run(document, { resultTypes: ["violations"] });
    return found.map(
      (/** @type {any} */ violation) =>
        `${violation.id}: ${violation.nodes.map((/** @type {any} */ node) => node.html).join(" ")}`,
    );
  });
  assert.deepEqual(violations, [], user.page.url());
}

browserTest("an unknown time range is any time", async (visitor) => {
  await visitor.page.goto("/?when=bar");
  await visitor.page.getByRole("article").first().waitFor();

  assert.equal(await visitor.page.getByLabel("When").inputValue(), "any");
  assert.equal(new URL(visitor.page.url()).search, "");
});

browserTest("the input of seats shows its limits", async (visitor) => {
  await visitor.page.goto(`/events/${fixture.event}?seats=99`);
  const fewer = visitor.button("Remove one seat");
  const more = visitor.button("Add one seat");
  await visitor.page.getByText("Up to 10").waitFor();

  assert.equal(await visitor.page.getByRole("spinbutton").inputValue(), "10");
  assert.deepEqual([await fewer.isDisabled(), await more.isDisabled()], [false, true]);
  await visitor.page.getByRole("spinbutton").fill("1");
  assert.deepEqual([await fewer.isDisabled(), await more.isDisabled()], [true, false]);
});

for (const width of [320, 360]) {
  browserTest(
    `an event in another time zone names it, in German at ${width} pixels`,
    async (visitor) => {
      await visitor.page.goto(`/events/${fixture.event}`);
      await visitor.page.getByRole("heading", { name: "Über dieses Event" }).waitFor();

      await visitor.waitForText(/Uhr MEZ|Uhr MESZ/);
      const { right } = await visitor.page.locator(".chooser").evaluate((form) => form.getBoundingClientRect());
      assert.ok(right <= width, `${right}`);
    },
    { locale: "de-DE", timezoneId: "Asia/Tokyo", viewport: { width, height: 740 } },
  );
}

browserTest("unknown ids are not found, and a trailing slash is ignored", async (user) => {
  const { page } = user;
  for (const path of ["/events/%00", "/events/no-such-event", "/events/a%20b"]) {
    const answer = await page.goto(path);
    assert.equal(answer?.status(), 404, path);
    await page.getByRole("heading", { name: "Page not found" }).waitFor();
  }
  await page.goto(`/events/${fixture.event}/`);
  await page.getByRole("heading", { level: 1, name: /^Night shapes/ }).waitFor();
  assert.equal(new URL(page.url()).pathname, `/events/${fixture.event}`);

  await user.logInAs(fixture);
  await page.goto("/me/bookings/abc");
  await page.getByRole("heading", { name: "Page not found" }).waitFor();
  assert.doesNotMatch(await page.getByRole("main").innerText(), /parse/);
});
