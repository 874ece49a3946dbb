// Paying a held booking: the form, its locked state while the answer is open, and every way it can end.
import { ApiError, get } from "./api.js";
import { h, pause } from "./dom.js";
import { explain, money, t } from "./i18n.js";
import { carryOut, interrupted, unanswered } from "./intent.js";
import { currentUser } from "./session.js";
import { alertBox } from "./views.js";

/** @typedef {ReturnType<typeof alertBox>["say"]} Say */

/** The mock gateway's test cards: what each does is in its text. */
const CARDS = /** @type {const} */ ([
  ["pm_card_visa", "visa", "4242"],
  ["pm_card_visa_chargeDeclined", "declined", "0002"],
  ["pm_mock_late", "late", "3220"],
  ["pm_mock_timeout", "timeout", "0119"],
  ["pm_mock_error", "error", "5126"],
]);

/**
 * @param {Api.Booking} booking
 * @param {() => Promise<void>} refresh draws the page anew if the booking changed
 * @param {AbortSignal} signal
 */
export function paymentForm(booking, refresh, signal) {
  const { box, say } = alertBox();
  const amount = booking.amount && booking.currency ? money(booking.amount, booking.currency) : "";
  const label = t("pay.button", { amount });
  const button = h("button.button.wide", { type: "submit" }, label);
  const choice = h("div");
  // Locked until it is known what to choose from.
  const fields = h("fieldset.bare", { disabled: true }, h("legend.unseen", t("pay.title")), choice, box, button);
  const form = h("form.pay", { novalidate: true }, h("h2", t("pay.title")), fields);

  /** @param {boolean} locked */
  const lock = (locked) => {
    fields.disabled = locked;
    if (locked) button.setAttribute("aria-busy", "true");
    else button.removeAttribute("aria-busy");
    button.textContent = locked ? t("pay.working") : label;
  };
  /** @param {() => Promise<Api.Payment>} ask */
  const run = async (ask) => {
    if (fields.disabled) return;
    lock(true);
    say();
    try {
      await settle(booking, await ask(), say, signal);
    } catch (error) {
      if (signal.aborted) return;
      say(reason(error), isUnderWay(error));
    }
    await refresh().catch(() => undefined);
    if (!signal.aborted) lock(false);
  };
  const begin = async () => {
    /** @type {Api.PaymentConfig} */
    const config = await get("/payments/config", { signal });
    const method =
      config.provider === "mock"
        ? testCards(choice)
        : await (await import("./stripe.js")).stripeForm(choice, booking, config.publishable_key ?? "");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void run(async () => charge(booking, await method()));
    });
    lock(false);
    resume(booking, form, run, say);
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  const again = h("button.button.plain.wide", { hidden: true }, t("action.retry"));
  form.append(again);
  const open = () =>
    begin().catch((error) => {
      if (signal.aborted) return;
      choice.replaceChildren();
      say(explain(error));
      again.hidden = false;
    });
  again.addEventListener("click", () => {
    again.hidden = true;
    say();
    void open();
  });
  void open();
  return form;
}

/**
 * @param {HTMLElement} place
 * @returns {() => Promise<string>} the chosen one
 */
function testCards(place) {
  const cards = h("fieldset.cards", h("legend", t("pay.cards")), h("p.hint", t("pay.test")), CARDS.map(cardChoice));
  place.append(cards);
  return async () => cards.querySelector("input:checked")?.getAttribute("value") ?? CARDS[0][0];
}

/**
 * @param {Api.Booking} booking
 * @param {string} method
 * @returns {Promise<Api.Payment>}
 */
const charge = (booking, method) =>
  carryOut(`pay:${booking.id}`, booker(), "/payments", { booking_id: booking.id, payment_method: method });

const booker = () => currentUser()?.id ?? 0;

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
 * Takes up what a reload interrupted.
 * @param {Api.Booking} booking
 * @param {HTMLFormElement} form
 * @param {(ask: () => Promise<Api.Payment>) => Promise<void>} run
 * @param {Say} say
 */
function resume(booking, form, run, say) {
  const sent = unanswered(`pay:${booking.id}`, booker());
  const stopped = interrupted(`pay:${booking.id}`, booker());
  const open = sessionStorage.getItem(pendingKey(booking));
  const method = (sent ?? stopped)?.payment_method;
  const choice = method && form.querySelector(`input[value="${CSS.escape(method)}"]`);
  if (choice instanceof HTMLInputElement) choice.checked = true;
  if (sent) void run(() => charge(booking, method));
  else if (open) void run(() => get(`/payments/${open}`));
  if (sent || open) say(t("pay.resuming"), true);
  else if (stopped) say(t("pay.once_more"), true);
}

/**
 * Waits until the payment is decided.
 * @param {Api.Booking} booking
 * @param {Api.Payment} payment
 * @param {Say} say
 * @param {AbortSignal} signal
 */
async function settle(booking, payment, say, signal) {
  let waited = 0;
  while (payment.status === "Processing") {
    sessionStorage.setItem(pendingKey(booking), String(payment.id));
    if (waited === 0) say(t("pay.resuming"), true);
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

/** Whether a refusal says that the payment is still being processed. @param {unknown} error */
const isUnderWay = (error) =>
  error instanceof ApiError && ["payment_in_progress", "request_in_progress"].includes(error.code);

/** @param {unknown} error */
function reason(error) {
  if (error instanceof ApiError) return explain(error);
  return t("pay.network");
}
