// The people of the tests: each is a browser of its own, and does what a person does, by role and label.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** Where the platform is. */
export const ORIGIN = process.env.ORIGIN ?? "http://localhost:8090";
/** Where screenshots go. */
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

function launch() {
  const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
  args.push("--disable-background-networking", "--disable-component-update", "--disable-sync");
  browser ??= chromium.launch({ executablePath: CHROMIUM, args });
  return browser;
}

/**
 * A test with one person in it, who must not meet a script error or a refusal by the security policy.
 * @param {string} name
 * @param {(person: Person) => Promise<void>} body
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export function visit(name, body, options = {}) {
  test(name, async () => {
    const person = await Person.arrives(options);
    try {
      await body(person);
      assert.deepEqual(person.complaints, []);
    } catch (error) {
      await person.screenshot(`failed-${name.replace(/\W+/g, "-")}`).catch(() => undefined);
      throw error;
    } finally {
      await person.leaves();
    }
  });
}

/**
 * A test at every size of window. `@ingress` in its name makes it one of those that show that a platform works as a
 * whole, wherever it runs: it needs nothing but a browser and makes its own accounts.
 * @param {string} name
 * @param {(person: Person, viewport: NonNullable<Viewport>) => Promise<void>} body
 */
export function journey(name, body) {
  for (const [size, viewport] of SIZES) visit(`${name} ${size}`, (person) => body(person, viewport), { viewport });
}

/** Closes what the tests of this file opened. */
export async function goHome() {
  await (await browser)?.close();
}

let people = 0;

/** Somebody with a browser. */
export class Person {
  /** @param {import("playwright-core").BrowserContext} context @param {import("playwright-core").Page} page */
  constructor(context, page) {
    this.context = context;
    this.page = page;
    this.email = `person-${Date.now()}-${process.pid}-${++people}@example.org`;
    this.password = "a quiet evening at home";
    /** What a person should never meet. @type {string[]} */
    this.complaints = [];
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.text().includes("Content Security Policy")) this.complaints.push(message.text());
    });
  }

  /** @param {import("playwright-core").BrowserContextOptions} [options] */
  static async arrives(options = {}) {
    const context = await (
      await launch()
    ).newContext({
      baseURL: ORIGIN,
      viewport: WIDE,
      locale: "en-GB",
      timezoneId: "Europe/Berlin",
      reducedMotion: "reduce",
      ...options,
    });
    context.setDefaultTimeout(15_000);
    return new Person(context, await context.newPage());
  }

  async leaves() {
    await this.context.close();
  }

  /** @param {"attendee" | "organizer"} [role] */
  async registers(role = "attendee") {
    await this.page.goto("/register");
    await this.fillsRegistration(role);
    await this.page.waitForURL((url) => url.pathname !== "/register");
    await this.button(/Account:/).waitFor();
    return this;
  }

  /** @param {"attendee" | "organizer"} [role] @param {string} [name] */
  async fillsRegistration(role = "attendee", name = role === "organizer" ? "Olga Organizer" : "Ada Attendee") {
    const { page } = this;
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Email address").fill(this.email);
    await page.getByLabel("Password").fill(this.password);
    if (role === "organizer") await page.getByLabel("I want to organize events").check();
    await page.getByRole("main").getByRole("button", { name: "Sign up" }).click();
  }

  /** Comes back as somebody who has an account. @param {{ email: string, password: string }} account */
  async returns(account) {
    Object.assign(this, { email: account.email, password: account.password });
    await this.page.goto("/login");
    await this.logsIn();
    await this.button(/Account:|Konto:/).waitFor();
  }

  /** Chooses the site's language. @param {string} language in its own words */
  async speaks(language) {
    const choice = this.page.getByRole("contentinfo").getByRole("combobox");
    if ((await choice.locator(":checked").textContent()) === language) return;
    const loaded = this.page.waitForEvent("load");
    await choice.selectOption(language);
    await loaded;
    await choice.waitFor();
  }

  /** In any language. */
  async logsIn() {
    const main = this.page.getByRole("main");
    await main.locator("[name=email]").fill(this.email);
    await main.locator("[name=password]").fill(this.password);
    await main.locator("[type=submit]").click();
  }

  /**
   * Publishes an event through the form; gives its id.
   * @param {{ title: string, description?: string, venue?: string, capacity?: number, price?: string }} event
   */
  async publishes({
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

  /** Reserves seats of an event and stands before its payment form. @param {string} event @param {number} [seats] */
  async reserves(event, seats = 1) {
    await this.page.goto(`/events/${event}`);
    for (let more = 1; more < seats; more++) await this.button("Add one seat").click();
    await this.button(/^Reserve/).click();
    await this.page.waitForURL(/\/me\/bookings\/\d+$/);
  }

  /** @param {string | RegExp} card */
  async paysWith(card) {
    await this.page.getByRole("radio", { name: card }).check();
    await this.button(/^Pay /).click();
  }

  /** @param {string | RegExp} name */
  button(name) {
    return this.page.getByRole("button", { name });
  }

  /** @param {string | RegExp} text anywhere on the page, seen by the person */
  async sees(text) {
    await this.page.getByText(text).filter({ visible: true }).first().waitFor();
  }

  /** A figure of the dashboard. @param {string} name @param {string} value */
  async has(name, value) {
    const figure = this.page.locator("dl > div").filter({ has: this.page.getByText(name, { exact: true }) });
    await figure
      .getByRole("definition")
      .filter({ hasText: new RegExp(`^${value}$`) })
      .waitFor();
  }

  /** @param {string | RegExp} text */
  async isTold(text) {
    await this.page.getByRole("alert").filter({ hasText: text }).filter({ visible: true }).first().waitFor();
  }

  /** Nothing to read or use sticks out of the window sideways, unless it is in a row that scrolls. */
  async fitsTheScreen() {
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

/** The first administrator, as `stack` names them to its tests. */
export function administrator() {
  const { ADMIN_EMAIL: email, ADMIN_PASSWORD: password } = process.env;
  assert.ok(email && password, "ADMIN_EMAIL and ADMIN_PASSWORD are not set; run: make test");
  return { email, password };
}

/** A title no other test has. @param {string} words */
export const unique = (words) => `${words} ${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
