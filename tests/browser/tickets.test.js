// Tickets, and the door: codes, other holders, scans with and without a network, and door links.
import assert from "node:assert/strict";
import { after } from "node:test";
import jsQR from "jsqr";
import { User, browserTest, closeBrowser, journey, unique } from "./user.js";

after(closeBrowser);

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
  await attendee.page.getByRole("link", { name: "Show tickets" }).click();
  await attendee.page.waitForURL(/\/me\/tickets\/\d+$/);
}

/** What a scanner reads from the ticket on screen. @param {User} attendee */
async function readCode({ page }) {
  const code = page.getByRole("img", { name: "QR code of this ticket" });
  await code.waitFor();
  const { pixels, size } = await code.evaluate(async (svg) => {
    const size = 424;
    const picture = new Image(size, size);
    picture.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
    await picture.decode();
    const canvas = new OffscreenCanvas(size, size);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.drawImage(picture, 0, 0, size, size);
    return { pixels: [...context.getImageData(0, 0, size, size).data], size };
  });
  const text = jsQR.default(Uint8ClampedArray.from(pixels), size, size)?.data;
  assert.match(text ?? "", /^[\w-]+\.[\w-]{107}$/);
  return String(text);
}

/** Types a code at the scanner, and waits for what it says. @param {User} scanner @param {string} code @param {string} verdict */
async function scan(scanner, code, verdict) {
  await scanner.page.getByLabel("Code of the ticket").fill(code);
  await scanner.button("Check").click();
  await scanner.page.getByRole("status").filter({ hasText: verdict }).waitFor();
}

journey("a ticket lets its holder in once", async (organizer, viewport) => {
  await organizer.register("organizer");
  const event = await publishTonight(organizer);
  const attendee = await User.open({ viewport });
  await attendee.register();
  await opensTicket(attendee, event);
  await attendee.waitForText("Ada Attendee");
  await attendee.expectNoOverflow();
  await attendee.screenshot(`ticket-${viewport.width}`);
  const first = await readCode(attendee);

  await attendee.page.getByText("Change the name").click();
  await attendee.page.getByLabel("Name on the ticket").fill("Grace Guest");
  await attendee.button("Save name").click();
  await attendee.waitForText("Name changed");
  const code = await readCode(attendee);
  assert.notEqual(code, first);

  await organizer.page.goto(`/organizer/events/${event}/bookings`);
  await organizer.waitForText("0 of 1 are in");
  await organizer.page.getByRole("link", { name: "Open the scanner" }).click();
  await organizer.page.waitForURL(/\/scan\?event=/);
  await organizer.waitForText("0 of 1 are in");
  await scan(organizer, first, "This ticket was reissued.");
  await scan(organizer, code, "Grace Guest");
  await organizer.waitForText("1 of 1 are in");
  await organizer.expectNoOverflow();
  await organizer.screenshot(`scan-${viewport.width}`);
  await scan(organizer, code, "Checked in already");
  await scan(organizer, "drawn by hand", "This isn’t one of our tickets.");
  await attendee.page.reload();
  await attendee.waitForText(/^Checked in /);
  await attendee.close();
});

browserTest("door staff need no account, and go on without a network", async (organizer) => {
  await organizer.register("organizer");
  const event = await publishTonight(organizer);
  const [ada, bea] = [await User.open(), await User.open()];
  const codes = [];
  for (const attendee of [ada, bea]) {
    await attendee.register();
    await opensTicket(attendee, event);
    codes.push(await readCode(attendee));
  }
  await organizer.page.goto(`/organizer/events/${event}/bookings`);
  await organizer.page.getByLabel("Name, such as the entrance").fill("North door");
  await organizer.button("Create link").click();
  const url = await organizer.page.getByLabel("Link", { exact: true }).inputValue();
  const staff = await User.open();
  await staff.page.goto(url);
  await staff.waitForText("0 of 2 are in");

  await scan(staff, codes[0], "Come in");
  await staff.context.setOffline(true);
  await scan(staff, codes[1], "Checked without a network");
  await staff.waitForText("2 of 2 are in · 1 waiting for the network");
  await scan(staff, codes[1], "Stop and check");
  const forged = codes[1].slice(0, -9) + (codes[1].at(-9) === "A" ? "B" : "A") + codes[1].slice(-8);
  await scan(staff, forged, "This isn’t one of our tickets.");
  await staff.context.setOffline(false);
  await staff.page.getByText("waiting for the network").waitFor({ state: "detached", timeout: 20_000 });
  await bea.page.reload();
  await bea.waitForText(/^Checked in /);

  await organizer.button("Revoke").click();
  await organizer.page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await organizer.page.getByText("North door").waitFor({ state: "detached" });
  await staff.page.getByLabel("Code of the ticket").fill(codes[0]);
  await staff.button("Check").click();
  await staff.waitForAlert("This link has expired or was revoked.");
  assert.deepEqual(staff.errors, []);
  for (const user of [ada, bea, staff]) await user.close();
});
