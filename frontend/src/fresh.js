// Pages that show data that others change reload it while they are on screen.
import { writes } from "./api.js";

const EVERY_MS = 15_000;

/**
 * Calls `look` now and then, when the page comes back on screen, and after another tab has written something.
 * @param {() => Promise<unknown>} look if it fails, the page stays as it is
 * @param {AbortSignal} signal
 */
export function keepFresh(look, signal) {
  let busy = false;
  const again = async () => {
    if (busy || document.hidden) return;
    busy = true;
    await look().catch(() => undefined);
    busy = false;
  };
  const timer = setInterval(again, EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  document.addEventListener("visibilitychange", again, { signal });
  writes.addEventListener("message", again, { signal });
}
