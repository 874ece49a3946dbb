// Deletion of the account: the section of the settings, and the dialog that lists the bookings to be cancelled.
import { ApiError, getAllPages, post, serverNow } from "./api.js";
import { h, uniqueId } from "./dom.js";
import { field, form } from "./forms.js";
import { explain, shortTime, t, tn } from "./i18n.js";
import { navigate } from "./router.js";
import { currentUser, endSession } from "./session.js";
import { toast } from "./toast.js";
import { alertBox, openDialog, whileBusy } from "./views.js";

/** @param {AbortSignal} signal */
export function accountDeletion(signal) {
  const { box, showMessage } = alertBox();
  const button = h("button.button.danger", t("account.delete"));
  button.addEventListener("click", async () => {
    showMessage();
    try {
      const bookings = await whileBusy(button, () => upcomingBookings(signal));
      // The disabled button lost the focus, and closing the dialog restores the focus only to where it was.
      button.focus();
      askForPassword(bookings, signal);
    } catch (error) {
      if (!signal.aborted) showMessage(explain(error));
    }
  });
  return h("div", h("p", t("account.delete_text"), ` ${t("action.final")}`), h("p.actions", button), box);
}

/**
 * The bookings that will be cancelled with the account, by start of the event.
 * @param {AbortSignal} signal
 * @returns {Promise<Api.Booking[]>}
 */
async function upcomingBookings(signal) {
  const lists = await Promise.all(
    ["Pending", "Confirmed"].map((status) => getAllPages("/bookings", { status }, signal)),
  );
  /** @param {Api.Booking} booking */
  const isUpcoming = ({ status, event_starts_at: start }) =>
    status === "Pending" || !start || Date.parse(start) > serverNow();
  /** @param {Api.Booking} booking */
  const start = ({ event_starts_at: at }) => Date.parse(at ?? "") || 0;
  return lists
    .flat()
    .filter(isUpcoming)
    .sort((a, b) => start(a) - start(b));
}

/** @param {Api.Booking[]} bookings @param {AbortSignal} signal */
function askForPassword(bookings, signal) {
  const password = field({
    name: "password",
    label: t("account.password"),
    type: "password",
    required: true,
    autocomplete: "current-password",
    maxLength: 1000,
  });
  const { element, button } = form([password], {
    // For password managers.
    content: [
      h("input", { type: "email", autocomplete: "username", value: currentUser()?.email, hidden: true }),
      password.root,
    ],
    submit: t("account.delete"),
    onSubmit: async () => {
      try {
        await post("/users/me/delete", { password: password.control.value });
      } catch (error) {
        if (!(error instanceof ApiError && error.code === "wrong_password")) throw error;
        return password.setError(explain(error));
      }
      dialog.close();
      toast(t("account.deleted"));
      endSession();
      await navigate("/");
    },
  });
  button.classList.add("danger");
  element.append(h("button.button.plain.wide", { onclick: () => dialog.close() }, t("action.back")));
  const warning = h(
    "div",
    { id: uniqueId() },
    h("p", bookings.length ? tn("account.delete_bookings", bookings.length) : t("account.delete_none")),
    bookings.length > 0 && h("ul.list", bookings.map(bookingRow)),
    h("p", t("action.final")),
  );
  const dialog = openDialog(t("account.delete_title"), warning, element);
  dialog.setAttribute("aria-describedby", warning.id);
  signal.addEventListener("abort", () => dialog.close());
}

/** @param {Api.Booking} booking */
const bookingRow = ({ id, event_title: title, event_starts_at: start }) =>
  h("li", h("h3", title ?? t("booking.title", { id })), start && h("p.meta", shortTime(start)));
