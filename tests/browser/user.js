// The users of the tests. Each one has a browser context, and finds elements by role and label.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** The URL of the platform. */
export const ORIGIN = process.env.ORIGIN ?? "http://localhost:8090";
/** The folder of screenshots. */
const ARTIFACTS = process.env.ARTIFACTS ?? fileURLToPath(new URL("../artifacts/browser", import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

export const WIDE = { width: 1280, height: 860 };
export const PHONE = { width: 360, height: 740 };
/** @typedef {import("playwright-core").BrowserContextOptions["viewport"]} Viewport */
/** @type {[string, NonNullable<Viewport>][]} */
export const SIZES = [
  ["at 1280 pixels", WIDE],
  ["at 360 pixels", PHONE],
];

/** Shared by the tests of one file. @type {Promise<import("playwright-core").Browser> | undefined} */
let browser;

/**
 * Every browser of this file: one that a failed test left open would keep the run from ending.
 * @type {import("playwright-core").Browser[]}
 */
const launched = [];

/** @param {...string} more arguments */
async function launch(...more) {
  const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
  args.push("--disable-background-networking", "--disable-component-update", "--disable-sync");
  const started = await chromium.launch({ executablePath: CHROMIUM, args: [...args, ...more] });
  launched.push(started);
  return started;
}

/**
 * A test with one user. Script errors and violations of the security policy fail it.
 * @param {string} name
 * @param {(user: User) => Promise<void>} body
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export function browserTest(name, body, options = {}) {
  test(name, async () => {
    const user = await User.open(options);
    try {
      await body(user);
      assert.deepEqual(user.errors, []);
    } catch (error) {
      await user.screenshot(`failed-${name.replace(/\W+/g, "-")}`).catch(() => undefined);
      throw error;
    } finally {
      await user.close();
    }
  });
}

/**
 * A test at every window size. Tests with `@ingress` in their names also run against other installations: they need
 * nothing but a browser, and create their own accounts.
 * @param {string} name
 * @param {(user: User, viewport: NonNullable<Viewport>) => Promise<void>} body
 */
export function journey(name, body) {
  for (const [size, viewport] of SIZES) browserTest(`${name} ${size}`, (user) => body(user, viewport), { viewport });
}

/** Closes the browsers of the tests of this file. */
export async function closeBrowser() {
  await Promise.all(launched.map((started) => started.close()));
}

let users = 0;

/** A user with a browser context. */
export class User {
  /** @param {import("playwright-core").BrowserContext} context @param {import("playwright-core").Page} page */
  constructor(context, page) {
    this.context = context;
    this.page = page;
    this.email = `person-${Date.now()}-${process.pid}-${++users}@example.org`;
    this.password = "a quiet evening at home";
    /** Script errors and violations of the security policy. @type {string[]} */
    this.errors = [];
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("console", (message) => {
      if (message.text().includes("Content Security Policy")) this.errors.push(message.text());
    });
  }

  /** @param {import("playwright-core").BrowserContextOptions} [options] */
  static async open(options = {}) {
    return User.in(await (browser ??= launch()), options);
  }

  /**
   * A user with a camera, in a browser of their own.
   * @param {string} video the file (Y4M) with what the camera sees
   */
  static async withCamera(video) {
    const own = await launch(
      "--use-fake-ui-for-media-stream",
      "--use-fake-device-for-media-stream",
      `--use-file-for-fake-video-capture=${video}`,
    );
    const user = await User.in(own);
    user.close = () => own.close();
    return user;
  }

  /** @param {import("playwright-core").Browser} where @param {import("playwright-core").BrowserContextOptions} [options] */
  static async in(where, options = {}) {
    const context = await where.newContext({
      baseURL: ORIGIN,
      viewport: WIDE,
      locale: "en-GB",
      timezoneId: "Europe/Berlin",
      reducedMotion: "reduce",
      ...options,
    });
    context.setDefaultTimeout(15_000);
    return new User(context, await context.newPage());
  }

  async close() {
    await this.context.close();
  }

  /** @param {"attendee" | "organizer"} [role] */
  async register(role = "attendee") {
    await this.page.goto("/register");
    await this.fillRegistration(role);
    await this.page.waitForURL((url) => url.pathname !== "/register");
    await this.button(/Account:/).waitFor();
    return this;
  }

  /** @param {"attendee" | "organizer"} [role] @param {string} [name] */
  async fillRegistration(role = "attendee", name = role === "organizer" ? "Olga Organizer" : "Ada Attendee") {
    const { page } = this;
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Email address").fill(this.email);
    await page.getByLabel("Password").fill(this.password);
    if (role === "organizer") await page.getByLabel("I want to organize events").check();
    await page.getByRole("main").getByRole("button", { name: "Sign up" }).click();
  }

  /** Logs in with an existing account. @param {{ email: string, password: string }} account */
  async logInAs(account) {
    Object.assign(this, { email: account.email, password: account.password });
    await this.page.goto("/login");
    await this.submitLogin();
    await this.button(/Account:|Konto:/).waitFor();
  }

  /** @param {string} language named in itself */
  async chooseLanguage(language) {
    const choice = this.page.getByRole("contentinfo").getByRole("combobox");
    if ((await choice.locator(":checked").textContent()) === language) return;
    const loaded = this.page.waitForEvent("load");
    await choice.selectOption(language);
    await loaded;
    await choice.waitFor();
  }

  /** In any language. */
  async submitLogin() {
    const main = this.page.getByRole("main");
    await main.locator("[name=email]").fill(this.email);
    await main.locator("[name=password]").fill(this.password);
    await main.locator("[type=submit]").click();
  }

  /**
   * Publishes an event through the form, and returns its id.
   * @param {{ title: string, description?: string, venue?: string, capacity?: number, price?: string }} event
   */
  async publish({
    title,
    description = "A fine evening.",
    venue = "The Old Mill, Leipzig",
    capacity = 50,
    price = "12.50",
  }) {
    const { page } = this;
    await page.goto("/organizer/events/new");
    await page.getByLabel("Title").fill(title);
    await page.getByLabel("Description").fill(description);
    await page.getByLabel("Venue").fill(venue);
    await page.getByLabel("Number of seats").fill(String(capacity));
    await page.getByLabel("Price per seat").fill(price);
    await this.button("Publish").click();
    await page.waitForURL(/\/organizer\/events\/(?!new)[\w-]+$/);
    return /** @type {string} */ (page.url().split("/").pop());
  }

  /** Reserves seats of an event, which opens the payment form. @param {string} event @param {number} [seats] */
  async reserve(event, seats = 1) {
    await this.page.goto(`/events/${event}`);
    for (let more = 1; more < seats; more++) await this.button("Add one seat").click();
    await this.button(/^Reserve/).click();
    await this.page.waitForURL(/\/me\/bookings\/\d+$/);
  }

  /** @param {string | RegExp} card */
  async payWith(card) {
    await this.page.getByRole("radio", { name: card }).check();
    await this.button(/^Pay /).click();
  }

  /** @param {string | RegExp} name */
  button(name) {
    return this.page.getByRole("button", { name });
  }

  /** @param {string | RegExp} text that is visible anywhere on the page */
  async waitForText(text) {
    await this.page.getByText(text).filter({ visible: true }).first().waitFor();
  }

  /** A figure of the dashboard. @param {string} name @param {string} value */
  async waitForFigure(name, value) {
    const figure = this.page.locator("dl > div").filter({ has: this.page.getByText(name, { exact: true }) });
    await figure
      .getByRole("definition")
      .filter({ hasText: new RegExp(`^${value}$`) })
      .waitFor();
  }

  /** @param {string | RegExp} text */
  async waitForAlert(text) {
    await this.page.getByRole("alert").filter({ hasText: text }).filter({ visible: true }).first().waitFor();
  }

  /** Fails if a visible element overflows the window horizontally, unless it is in a row that scrolls. */
  async expectNoOverflow() {
    const outside = await this.page.evaluate(() => {
      const scrolls = (/** @type {Element | null} */ element) => {
        for (; element; element = element.parentElement) {
          if (getComputedStyle(element).overflowX === "auto") return true;
        }
        return false;
      };
      const parts = [
        ...document.querySelectorAll(
          "a, button, input, select, textarea, label, legend, h1, h2, h3, p, dd, dt, time, span, td, th, img, [role]",
        ),
      ];
      return parts
        .filter((part) => part.checkVisibility() && !scrolls(part))
        .filter((part) => {
          const { left, right, width } = part.getBoundingClientRect();
          return width > 1 && (left < -1 || right > document.documentElement.clientWidth + 1);
        })
        .map((part) => part.outerHTML.slice(0, 120));
    });
    assert.deepEqual(outside, [], `${this.page.url()} does not fit`);
  }

  /** @param {string} name */
  async screenshot(name) {
    await mkdir(ARTIFACTS, { recursive: true });
    await this.page.screenshot({ path: `${ARTIFACTS}/${name}.png`, fullPage: true });
  }
}

/** The first administrator, from the environment that `stack` sets. */
export function administrator() {
  const { ADMIN_EMAIL: email, ADMIN_PASSWORD: password } = process.env;
  assert.ok(email && password, "ADMIN_EMAIL and ADMIN_PASSWORD are not set; run: make test");
  return { email, password };
}

/** A title that no other test has. @param {string} words */
export const unique = (words) => `${words} ${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
