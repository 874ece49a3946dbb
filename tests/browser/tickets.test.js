// Tickets, and the door: QR codes, other holders, scans with and without a network, and door links.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { decodeQR } from "qr/decode.js";
import { User, browserTest, closeBrowser, journey, unique } from "./user.js";

after(closeBrowser);

/** Pixels of the pictures of QR codes, each way. */
const SIZE = 424;

/** The organizer's event begins in five hours, so that its tickets can be checked in. @param {User} organizer */
async function publishTonight(organizer) {
  const id = await organizer.publish({ title: unique("Tonight"), price: "0" });
  const status = await organizer.page.evaluate(async (event) => {
    const at = (/** @type {number} */ hours) => new Date(Date.now() + hours * 3_600_000).toISOString();
    const body = JSON.stringify({ starts_at: at(5), ends_at: at(7) });
    const headers = { "Content-Type": "application/json" };
    return (await fetch(`/api/events/${event}`, { method: "PATCH", headers, body })).status;
  }, id);
  assert.equal(status, 200);
  return id;
}

/** Books a free seat and opens its ticket. @param {User} attendee @param {string} event */
async function opensTicket(attendee, event) {
  await attendee.page.goto(`/events/${event}`);
  await attendee.button("Book 1 free seat").click();
  await attendee.waitForText("You’re in!");
  await attendee.page.getByRole("link", { name: "Show ticket" }).click();
  await attendee.page.waitForURL(/\/me\/tickets\/\d+$/);
}

/** A new attendee with an open ticket. @param {string} event @param {string} name */
async function attendeeOf(event, name) {
  const attendee = await User.open();
  await attendee.page.goto("/register");
  await attendee.fillRegistration("attendee", name);
  await attendee.button(/Account:/).waitFor();
  await opensTicket(attendee, event);
  return attendee;
}

/** The pixels (RGBA) of the QR code on screen. @param {User} attendee */
async function pixelsOf({ page }) {
  const code = page.getByRole("img", { name: "QR code for this ticket" });
  await code.waitFor();
  const pixels = await code.evaluate(async (svg, size) => {
    const picture = new Image(size, size);
    picture.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
    await picture.decode();
    const canvas = new OffscreenCanvas(size, size);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.drawImage(picture, 0, 0, size, size);
    return [...context.getImageData(0, 0, size, size).data];
  }, SIZE);
  return Uint8Array.from(pixels);
}

/** What a scanner reads from the ticket on screen. @param {User} attendee */
async function readCode(attendee) {
  const code = decodeQR({ width: SIZE, height: SIZE, data: await pixelsOf(attendee) });
  assert.match(code, /^[\w-]+\.[\w-]{107}$/);
  return code;
}

/** A video of the ticket on screen, as a camera sees it. @param {User} attendee @param {string} path */
async function filmTicket(attendee, path) {
  const pixels = await pixelsOf(attendee);
  const [width, height] = [640, 480];
  const light = Buffer.alloc(width * height, 90);
  for (let y = 0; y < SIZE; y++)
    for (let x = 0; x < SIZE; x++) light[(y + 28) * width + x + 108] = pixels[(y * SIZE + x) * 4];
  const colour = Buffer.alloc((width * height) / 2, 128);
  const frame = Buffer.concat([Buffer.from("FRAME\n"), light, colour]);
  await writeFile(
    path,
    Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F10:1 Ip A1:1 C420jpeg\n`), frame, frame]),
  );
}

/** Types a code as handheld scanners do. @param {User} scanner @param {string} code @param {string} verdict */
async function scan(scanner, code, verdict) {
  const field = scanner.page.getByLabel("Find a ticket");
  await field.fill(code);
  await field.press("Enter");
  await expectVerdict(scanner, verdict);
}

/** @param {User} scanner @param {string} verdict */
async function expectVerdict({ page }, verdict) {
  await page.getByRole("status").filter({ hasText: verdict }).waitFor();
}

/** A code that differs from a ticket's by one letter of its signature. @param {string} code */
const forge = (code) => code.slice(0, -9) + (code.at(-9) === "A" ? "B" : "A") + code.slice(-8);

/** Makes a door link, and returns its URL. @param {User} organizer @param {string} event */
async function makeDoorLink(organizer, event) {
  await organizer.page.goto(`/organizer/events/${event}/bookings`);
  await organizer.page.getByLabel("Link name").fill("North door");
  await organizer.button("Create link").click();
  return organizer.page.getByLabel("Link", { exact: true }).inputValue();
}

/**
 * Waits for a condition in the page that takes a promise, which `waitForFunction` takes for true.
 * @template T
 * @param {User} user
 * @param {(argument: T) => Promise<boolean>} condition
 * @param {T} argument
 */
async function waitUntil({ page }, condition, argument) {
  const deadline = Date.now() + 15_000;
  while (!(await page.evaluate(/** @type {any} */ (condition), argument))) {
    assert.ok(Date.now() < deadline, `not within 15 s: ${condition}`);
  }
}

/** Whether the page is stored for times without a network, with its data. @param {string} path */
async function isStored(path) {
  const { active } = (await navigator.serviceWorker.getRegistration()) ?? {};
  const data = await (await caches.open("data")).keys();
  return active?.state === "activated" && data.length > 0 && Boolean(await caches.match(path, { ignoreSearch: true }));
}

/** Whether no data of a page is stored. */
const isForgotten = async () => !(await caches.has("data"));

journey("a ticket lets its holder in once", async (organizer, viewport) => {
  await organizer.register("organizer");
  const event = await publishTonight(organizer);
  const attendee = await User.open({ viewport });
  await attendee.register();
  await opensTicket(attendee, event);
  await attendee.waitForText("Ada Attendee");
  await attendee.expectNoOverflow();
  const first = await readCode(attendee);

  await attendee.page.getByText("Change name").click();
  await attendee.page.getByLabel("Name on the ticket").fill("Grace Guest");
  await attendee.button("Save name").click();
  await attendee.waitForText("Name changed");
  const code = await readCode(attendee);
  assert.notEqual(code, first);

  await organizer.page.goto(`/organizer/events/${event}/bookings`);
  await organizer.waitForText("0 of 1 checked in");
  await organizer.expectNoOverflow();
  await organizer.page.getByRole("link", { name: "Open scanner" }).click();
  await organizer.page.waitForURL(/\/scan\?event=/);
  await organizer.waitForText("0 of 1 checked in");
  await scan(organizer, first, "This ticket was replaced by a new one.");
  await scan(organizer, code, "Welcome");
  await expectVerdict(organizer, "Grace Guest");
  await organizer.waitForText("1 of 1 checked in");
  await organizer.expectNoOverflow();
  await scan(organizer, code, "Already checked in");
  await scan(organizer, forge(code), "This isn’t one of our tickets.");
  await attendee.page.reload();
  await attendee.waitForText(/^Checked in /);

  await scan(organizer, code, "Already checked in");
  await organizer.button("Undo check-in").click();
  await organizer.waitForText("0 of 1 checked in");
  await organizer.page.getByLabel("Find a ticket").fill("grâce");
  await organizer.button("Check in Grace Guest").click();
  await expectVerdict(organizer, "Welcome");
  await organizer.waitForText("1 of 1 checked in");
  await attendee.close();
});

browserTest("a camera reads a ticket from another screen", async (organizer) => {
  await organizer.register("organizer");
  const event = await publishTonight(organizer);
  const attendee = await attendeeOf(event, "Ada Attendee");
  const folder = await mkdtemp(join(tmpdir(), "camera-"));
  await filmTicket(attendee, join(folder, "ticket.y4m"));
  const staff = await User.withCamera(join(folder, "ticket.y4m"));

  await staff.page.goto(await makeDoorLink(organizer, event));
  await staff.button("Start camera").click();
  await expectVerdict(staff, "Ada Attendee");
  await expectVerdict(staff, "Welcome");
  await staff.waitForText("1 of 1 checked in");
  // The ticket stays in front of the camera, and is not scanned again.
  await staff.page.getByLabel("Find a ticket").fill("Ada");
  await staff.waitForText(/^Checked in: /);
  await expectVerdict(staff, "Welcome");
  assert.deepEqual(staff.errors, []);
  for (const user of [attendee, staff]) await user.close();
  await rm(folder, { recursive: true });
});

browserTest("door staff need no account, and go on without a network", async (organizer) => {
  await organizer.register("organizer");
  const event = await publishTonight(organizer);
  const [ada, bea, cid] = await Promise.all(["Ada", "Bea", "Cid"].map((name) => attendeeOf(event, `${name} Attendee`)));
  const codes = await Promise.all([ada, bea, cid].map(readCode));
  const staff = await User.open();
  await staff.page.goto(await makeDoorLink(organizer, event));
  await staff.waitForText("0 of 3 checked in");
  await scan(staff, codes[0], "Welcome");
  await waitUntil(staff, isStored, "/scan");

  await staff.context.setOffline(true);
  await staff.page.reload();
  await scan(staff, codes[1], "Checked offline");
  await expectVerdict(staff, "Bea Attendee");
  await staff.waitForText("checked in · 1 scan not sent yet");
  await scan(staff, codes[1], "Stop and check");
  await scan(staff, forge(codes[1]), "This isn’t one of our tickets.");
  await staff.page.getByLabel("Find a ticket").fill("cid");
  await staff.button("Check in Cid Attendee").click();
  await expectVerdict(staff, "Cid Attendee");
  await staff.page.reload();
  await staff.waitForText("2 scans not sent yet");
  // Another door lets Cid in meanwhile.
  await organizer.page.goto(`/scan?event=${event}`);
  await scan(organizer, codes[2], "Welcome");
  await staff.context.setOffline(false);
  await staff.waitForAlert("Let in offline, but refused afterwards");
  await staff.waitForAlert(/Cid Attendee.*Already checked in/);
  await staff.page.getByText("not sent yet").waitFor({ state: "detached" });
  await staff.button("Dismiss").click();
  await staff.page.getByText("refused afterwards").waitFor({ state: "detached" });
  await bea.page.reload();
  await bea.waitForText(/^Checked in /);

  await organizer.page.goto(`/organizer/events/${event}/bookings`);
  await organizer.waitForText("3 of 3 checked in");
  await organizer.button("Revoke North door").click();
  await organizer.page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await organizer.page.getByText("North door", { exact: true }).waitFor({ state: "detached" });
  await scan(staff, codes[0], "We couldn’t check this ticket.");
  await staff.waitForAlert("This link has expired or was revoked.");
  assert.deepEqual(staff.errors, []);
  for (const user of [ada, bea, cid, staff]) await user.close();
});

browserTest("an opened ticket is shown without a network, until its holder logs out", async (organizer) => {
  await organizer.register("organizer");
  const attendee = await attendeeOf(await publishTonight(organizer), "Ada Attendee");
  const code = await readCode(attendee);
  const { pathname } = new URL(attendee.page.url());
  await attendee.page.reload();
  await waitUntil(attendee, isStored, pathname);

  await attendee.context.setOffline(true);
  await attendee.page.reload();

  assert.equal(await readCode(attendee), code);
  await attendee.waitForText("Ada Attendee");
  await attendee.waitForText("You’re offline.");
  await attendee.context.setOffline(false);
  await attendee.button(/Account:/).click();
  await attendee.button("Log out").click();
  await waitUntil(attendee, isForgotten, undefined);
  await attendee.close();
});
