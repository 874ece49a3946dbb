// Stripe's own card form. The card never touches this site, which gets a token for it; see
// https://docs.stripe.com/payments/accept-a-payment-deferred.
import { toStripe } from "./amounts.js";
import { ApiError, NetworkError } from "./api.js";
import { language } from "./i18n.js";

/** Stripe wants its script from its own host, whose address is in the server's security policy. */
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
 * Puts the form into `place`.
 * @param {HTMLElement} place
 * @param {Api.Booking} booking
 * @param {string} publishableKey
 * @returns {Promise<() => Promise<string>>} makes a payment method of what was typed
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
    const { error: unfit } = await elements.submit();
    const made = unfit ? { error: unfit } : await stripe.createPaymentMethod({ elements });
    if (made.paymentMethod) return made.paymentMethod.id;
    throw new ApiError({ status: 422, code: "card_refused", detail: made.error?.message });
  };
}
