// Stripe's card form. This site never sees the card, only the id of a payment method; see
// https://docs.stripe.com/payments/accept-a-payment-deferred.
import { toStripe } from "./amounts.js";
import { ApiError, NetworkError } from "./api.js";
import { language } from "./i18n.js";

/** Stripe requires loading the script from this host, which the security policy of `frontend/server` allows. */
const SCRIPT = "https://js.stripe.com/v3/";

/** @type {Promise<void> | undefined} */
let loading;

/** @returns {Promise<void>} */
function loadScript() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = SCRIPT;
    script.addEventListener("load", () => resolve());
    script.addEventListener("error", () => {
      loading = undefined;
      reject(new NetworkError("Stripe.js did not load"));
    });
    document.head.append(script);
  });
}

/**
 * Mounts the form in `place`.
 * @param {HTMLElement} place
 * @param {Api.Booking} booking
 * @param {string} publishableKey
 * @returns {Promise<() => Promise<string>>} creates a payment method from the entered card
 */
export async function stripeForm(place, booking, publishableKey) {
  await (loading ??= loadScript());
  const stripe = Stripe(publishableKey, { locale: language });
  const elements = stripe.elements({
    mode: "payment",
    amount: toStripe(booking.amount ?? 0, booking.currency ?? ""),
    currency: booking.currency?.toLowerCase() ?? "",
    paymentMethodTypes: ["card"],
    paymentMethodCreation: "manual",
    appearance: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "stripe" },
  });
  elements.create("payment").mount(place);
  return async () => {
    const { error: invalid } = await elements.submit();
    const result = invalid ? { error: invalid } : await stripe.createPaymentMethod({ elements });
    if (result.paymentMethod) return result.paymentMethod.id;
    throw new ApiError({ status: 422, code: "card_refused", detail: result.error?.message });
  };
}
