// Releases seats that are held but not paid, before their time is over.
import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { explain, t } from "./i18n.js";
import { carryOut } from "./intent.js";
import { currentUser } from "./session.js";
import { toast } from "./toast.js";
import { confirmDialog, whileBusy } from "./views.js";

/**
 * @param {Api.Booking} booking
 * @param {(text?: string) => void} say
 * @param {() => Promise<unknown>} refresh draws the page again
 */
export function releaseButton(booking, say, refresh) {
  const button = h("button.button.plain.wide", t("booking.release"));
  button.addEventListener("click", async () => {
    const question = { title: t("booking.release_title"), text: t("booking.release_text"), yes: t("booking.release") };
    if (!(await confirmDialog({ ...question, danger: true, final: false }))) return;
    await whileBusy(button, () => cancelBooking(booking, t("booking.released_toast"), say, refresh));
  });
  return button;
}

/**
 * @param {Api.Booking} booking
 * @param {string} done
 * @param {(text?: string) => void} say
 * @param {() => Promise<unknown>} refresh
 */
export async function cancelBooking(booking, done, say, refresh) {
  try {
    await carryOut(`cancel:${booking.id}`, currentUser()?.id ?? 0, `/bookings/${booking.id}/cancel`, {});
    toast(done, { tone: "info", about: booking.event_id });
  } catch (error) {
    say(explain(error));
    if (!(error instanceof ApiError)) return;
  }
  await refresh();
}
