// Messages that appear in a corner for some seconds. They never cover a main button.
import { find, h, icon } from "./dom.js";
import { t } from "./i18n.js";

const SHOWN_MS = 7000;
/** The most messages at once; more would cover a phone's screen. */
const MOST = 2;
/** The corners, the best first; each is a class of `.toasts`. On a phone left and right are the same. */
const CORNERS = ["bottom right", "top right", "bottom left", "top left"];

/**
 * Shows a message; screen readers hear it.
 * @param {string} text
 * @param {object} [options]
 * @param {string} [options.detail]
 * @param {string} [options.href] where it leads
 * @param {"good" | "info" | "bad"} [options.tone]
 * @param {string} [options.symbol] the name of an icon
 * @param {string} [options.about] what it is about: a later message about the same takes its place
 */
export function toast(text, { detail, href, tone = "good", symbol, about } = {}) {
  const region = find("#toasts");
  const body = [h("strong", text), detail && h("span", detail)];
  const close = h("button.toast-close", { "aria-label": t("action.close") }, icon("close"));
  const message = h(
    `div.toast.${tone}`,
    { "data-about": about },
    icon(symbol ?? { good: "check", info: "bell", bad: "warning" }[tone]),
    href ? h("a.toast-body", { href }, body) : h("div.toast-body", body),
    close,
  );
  const end = () => {
    message.remove();
    if (!region.children.length) stopWatching();
  };
  const expire = () => {
    if (message.matches(":hover, :focus-within")) setTimeout(expire, SHOWN_MS / 2);
    else end();
  };
  close.addEventListener("click", end);
  if (href) message.querySelector("a")?.addEventListener("click", end);
  if (about) region.querySelector(`[data-about="${CSS.escape(about)}"]`)?.remove();
  while (region.children.length >= MOST) region.firstElementChild?.remove();
  region.append(message);
  setTimeout(expire, SHOWN_MS);
  watch();
}

const changes = new MutationObserver(() => place());

function watch() {
  place();
  changes.observe(find("#main"), { childList: true, subtree: true });
  for (const name of ["scroll", "resize"]) addEventListener(name, place, { passive: true });
}

function stopWatching() {
  changes.disconnect();
  for (const name of ["scroll", "resize"]) removeEventListener(name, place);
}

/** Moves the messages to the first corner where no main button is. */
function place() {
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
