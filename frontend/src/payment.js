// The form to pay for a booking. It is locked during a payment, and resumes one after a reload.
import { ApiError, get } from "./api.js";
import { h, pause } from "./dom.js";
import { explain, money, t } from "./i18n.js";
import { postOnce, unauthorizedBody, pendingBody } from "./intent.js";
import { currentUser } from "./session.js";
import { alertBox } from "./views.js";

/** @typedef {ReturnType<typeof alertBox>["showMessage"]} ShowMessage */

/** The mock gateway's test cards: payment method, key of the text, last digits. */
const CARDS = /** @type {const} */ ([
  ["pm_card_visa", "visa", "4242"],
  ["pm_card_visa_chargeDeclined", "declined", "0002"],
  ["pm_mock_late", "late", "3220"],
  ["pm_mock_timeout", "timeout", "0119"],
  ["pm_mock_error", "error", "5126"],
]);

/**
 * @param {Api.Booking} booking
 * @param {() => Promise<void>} refresh redraws the page if the booking changed
 * @param {AbortSignal} signal
 */
export function paymentForm(booking, refresh, signal) {
  const { box, showMessage } = alertBox();
  const amount = booking.amount && booking.currency ? money(booking.amount, booking.currency) : "";
  const label = t("pay.button", { amount });
  const button = h("button.button.wide", { type: "submit" }, label);
  const choice = h("div");
  // Locked until the payment methods are loaded.
  const fields = h("fieldset.bare", { disabled: true }, h("legend.unseen", t("pay.title")), choice, box, button);
  const form = h("form.pay", { novalidate: true }, h("h2", t("pay.title")), fields);

  /** @param {boolean} locked */
  const lock = (locked) => {
    fields.disabled = locked;
    if (locked) button.setAttribute("aria-busy", "true");
    else button.removeAttribute("aria-busy");
    button.textContent = locked ? t("pay.working") : label;
  };
  /** @param {() => Promise<Api.Payment>} pay */
  const run = async (pay) => {
    if (fields.disabled) return;
    lock(true);
    showMessage();
    try {
      await waitForPayment(booking, await pay(), showMessage, signal);
    } catch (error) {
      if (signal.aborted) return;
      showMessage(paymentError(error), isInProgress(error));
    }
    await refresh().catch(() => undefined);
    if (!signal.aborted) lock(false);
  };
  const start = async () => {
    /** @type {Api.PaymentConfig} */
    const config = await get("/payments/config", { signal });
    const method =
      config.provider === "mock"
        ? showTestCards(choice)
        : await (await import("./stripe.js")).stripeForm(choice, booking, config.publishable_key ?? "");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void run(async () => startPayment(booking, await method()));
    });
    lock(false);
    resume(booking, form, run, showMessage);
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  const retry = h("button.button.plain.wide", { hidden: true }, t("action.retry"));
  form.append(retry);
  const load = () =>
    start().catch((error) => {
      if (signal.aborted) return;
      choice.replaceChildren();
      showMessage(explain(error));
      retry.hidden = false;
    });
  retry.addEventListener("click", () => {
    retry.hidden = true;
    showMessage();
    void load();
  });
  void load();
  return form;
}

/**
 * @param {HTMLElement} place
 * @returns {() => Promise<string>} the chosen payment method
 */
function showTestCards(place) {
  const cards = h("fieldset.cards", h("legend", t("pay.cards")), h("p.hint", t("pay.test")), CARDS.map(cardChoice));
  place.append(cards);
  return async () => cards.querySelector("input:checked")?.getAttribute("value") ?? CARDS[0][0];
}

/**
 * @param {Api.Booking} booking
 * @param {string} method
 * @returns {Promise<Api.Payment>}
 */
const startPayment = (booking, method) =>
  postOnce(`pay:${booking.id}`, userId(), "/payments", { booking_id: booking.id, payment_method: method });

const userId = () => currentUser()?.id ?? 0;

/** @param {typeof CARDS[number]} card @param {number} index */
function cardChoice([method, name, digits], index) {
  return h(
    "label.pay-card",
    h("input", { type: "radio", name: "card", value: method, checked: index === 0 }),
    h("span", h("b", t(`card.${name}`)), h("small", `•••• ${digits}`)),
  );
}

/** @param {Api.Booking} booking */
const pendingKey = (booking) => `payment:${booking.id}`;

/**
 * Resumes a payment that a reload or the end of the session interrupted.
 * @param {Api.Booking} booking
 * @param {HTMLFormElement} form
 * @param {(pay: () => Promise<Api.Payment>) => Promise<void>} run
 * @param {ShowMessage} showMessage
 */
function resume(booking, form, run, showMessage) {
  const pending = pendingBody(`pay:${booking.id}`, userId());
  const unauthorized = unauthorizedBody(`pay:${booking.id}`, userId());
  const open = sessionStorage.getItem(pendingKey(booking));
  const method = (pending ?? unauthorized)?.payment_method;
  const choice = method && form.querySelector(`input[value="${CSS.escape(method)}"]`);
  if (choice instanceof HTMLInputElement) choice.checked = true;
  if (pending) void run(() => startPayment(booking, method));
  else if (open) void run(() => get(`/payments/${open}`));
  if (pending || open) showMessage(t("pay.resuming"), true);
  else if (unauthorized) showMessage(t("pay.once_more"), true);
}

/**
 * Waits until the payment has succeeded or failed.
 * @param {Api.Booking} booking
 * @param {Api.Payment} payment
 * @param {ShowMessage} showMessage
 * @param {AbortSignal} signal
 */
async function waitForPayment(booking, payment, showMessage, signal) {
  let waited = 0;
  while (payment.status === "Processing") {
    sessionStorage.setItem(pendingKey(booking), String(payment.id));
    if (waited === 0) showMessage(t("pay.resuming"), true);
    await pause(Math.min(1000 + waited / 4, 5000), signal);
    waited += 1000;
    payment = await get(`/payments/${payment.id}`, { signal }).catch((error) => {
      if (error instanceof ApiError && error.status < 500) throw error;
      return payment;
    });
  }
  sessionStorage.removeItem(pendingKey(booking));
  const { failure } = payment;
  if (payment.status === "Failed") {
    throw new ApiError({ status: 402, code: failure?.code ?? "card_declined", detail: failure?.message });
  }
}

/** Whether an error means that the payment is still being processed. @param {unknown} error */
const isInProgress = (error) =>
  error instanceof ApiError && ["payment_in_progress", "request_in_progress"].includes(error.code);

/** @param {unknown} error */
function paymentError(error) {
  if (error instanceof ApiError) return explain(error);
  return t("pay.network");
}
