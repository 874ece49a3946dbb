// Reloads data that others change, while the page is visible.
import { writes } from "./api.js";

const INTERVAL_MS = 15_000;

/**
 * Calls `load` periodically, when the page becomes visible, and after a write of another tab.
 * @param {() => Promise<unknown>} load its failure is ignored
 * @param {AbortSignal} signal
 */
export function autoRefresh(load, signal) {
  let loading = false;
  const reload = async () => {
    if (loading || document.hidden) return;
    loading = true;
    await load().catch(() => undefined);
    loading = false;
  };
  const timer = setInterval(reload, INTERVAL_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  document.addEventListener("visibilitychange", reload, { signal });
  writes.addEventListener("message", reload, { signal });
}
