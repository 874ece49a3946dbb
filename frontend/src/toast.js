// Messages that are shown in a corner for some seconds, and never cover a main button.
import { find, h, icon } from "./dom.js";
import { t } from "./i18n.js";

const SHOWN_MS = 7000;
/** More would cover a phone's screen. */
const MAX_TOASTS = 2;
/** The corners by preference, as classes of `.toasts`. On a phone, left and right are the same. */
const CORNERS = ["bottom right", "top right", "bottom left", "top left"];

/**
 * Shows a message, and announces it to screen readers.
 * @param {string} text
 * @param {object} [options]
 * @param {string} [options.detail]
 * @param {string} [options.href] the target of a link
 * @param {"good" | "info" | "bad"} [options.tone]
 * @param {string} [options.symbol] the name of an icon
 * @param {string} [options.topic] a later message with the same topic replaces it
 */
export function toast(text, { detail, href, tone = "good", symbol, topic } = {}) {
  const region = find("#toasts");
  const body = [h("strong", text), detail && h("span", detail)];
  const close = h("button.toast-close", { "aria-label": t("action.close") }, icon("close"));
  const message = h(
    `div.toast.${tone}`,
    { "data-topic": topic },
    icon(symbol ?? { good: "check", info: "bell", bad: "warning" }[tone]),
    href ? h("a.toast-body", { href }, body) : h("div.toast-body", body),
    close,
  );
  const dismiss = () => {
    message.remove();
    if (!region.children.length) stopWatching();
  };
  const expire = () => {
    if (message.matches(":hover, :focus-within")) setTimeout(expire, SHOWN_MS / 2);
    else dismiss();
  };
  close.addEventListener("click", dismiss);
  if (href) message.querySelector("a")?.addEventListener("click", dismiss);
  if (topic) region.querySelector(`[data-topic="${CSS.escape(topic)}"]`)?.remove();
  while (region.children.length >= MAX_TOASTS) region.firstElementChild?.remove();
  region.append(message);
  setTimeout(expire, SHOWN_MS);
  startWatching();
}

const observer = new MutationObserver(() => reposition());

function startWatching() {
  reposition();
  observer.observe(find("#main"), { childList: true, subtree: true });
  for (const name of ["scroll", "resize"]) addEventListener(name, reposition, { passive: true });
}

function stopWatching() {
  observer.disconnect();
  for (const name of ["scroll", "resize"]) removeEventListener(name, reposition);
}

/** Moves the messages to the first corner without a main button. */
function reposition() {
  const region = find("#toasts");
  const buttons = [...document.querySelectorAll(".button:not(.plain)")].map((button) => button.getBoundingClientRect());
  const free = CORNERS.find((corner) => {
    region.className = `toasts ${corner}`;
    const box = region.getBoundingClientRect();
    return !buttons.some(
      ({ left, right, top, bottom }) =>
        left < box.right && right > box.left && top < box.bottom && bottom > box.top && right > left,
    );
  });
  if (!free) region.className = `toasts ${CORNERS[0]}`;
}
