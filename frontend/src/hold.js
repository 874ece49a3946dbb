// Releases held seats before the hold expires, and cancels bookings.
import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { explain, t } from "./i18n.js";
import { postOnce } from "./intent.js";
import { currentUser } from "./session.js";
import { toast } from "./toast.js";
import { confirmDialog, whileBusy } from "./views.js";

/**
 * @param {Api.Booking} booking
 * @param {(text?: string) => void} showMessage
 * @param {() => Promise<unknown>} refresh draws the page again
 */
export function releaseButton(booking, showMessage, refresh) {
  const button = h("button.button.plain.wide", t("booking.release"));
  button.addEventListener("click", async () => {
    const question = { title: t("booking.release_title"), text: t("booking.release_text"), yes: t("booking.release") };
    if (!(await confirmDialog({ ...question, danger: true, final: false }))) return;
    await whileBusy(button, () => cancelBooking(booking, t("booking.released_toast"), showMessage, refresh));
  });
  return button;
}

/**
 * @param {Api.Booking} booking
 * @param {string} doneText
 * @param {(text?: string) => void} showMessage
 * @param {() => Promise<unknown>} refresh
 */
export async function cancelBooking(booking, doneText, showMessage, refresh) {
  try {
    await postOnce(`cancel:${booking.id}`, currentUser()?.id ?? 0, `/bookings/${booking.id}/cancel`, {});
    toast(doneText, { tone: "info", topic: booking.event_id });
  } catch (error) {
    showMessage(explain(error));
    if (!(error instanceof ApiError)) return;
  }
  await refresh();
}
