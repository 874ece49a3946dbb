// The scanner at the door, for the event's organizer and for people with a door link, whose token is in the fragment: that
// is sent to no server, and reaches no log.
import { ApiError, get } from "../api.js";
import { cameraView } from "../camera.js";
import { h, icon, replace } from "../dom.js";
import { field } from "../forms.js";
import { date, explain, shortTime, t, tn, tOr } from "../i18n.js";
import { keepPage } from "../offline.js";
import { Scanner, isCode, isPassing, storedList } from "../scanner.js";
import { alertBox, setTitle, whileBusy } from "../views.js";

const DEVICE_KEY = "scanner.device";
/** Tickets that a search shows. */
const MAX_FOUND = 20;
/** Frequencies of the beeps, in hertz. @type {Record<import("../scanner.js").Tone, number[]>} */
const BEEPS = { good: [1320], warn: [520, 520], bad: [220, 220, 220] };

/** @typedef {import("../scanner.js").Verdict} Verdict */
/** @typedef {import("../scanner.js").Target} Target */

/** @type {PageModule["render"]} */
export async function render(root, { query, signal }) {
  const id = query.get("event");
  if (!id) throw new ApiError({ status: 404, code: "event_not_found" });
  const token = location.hash.slice(1) || undefined;
  const stored = await storedList(id);
  /** @type {Api.EventItem} */
  const event = stored?.event ?? (await get(`/api/events/${encodeURIComponent(id)}`, { signal }));
  if (signal.aborted) return;
  setTitle(t("scan.title"));
  allowSound(signal);
  // Another door link was opened in this tab.
  addEventListener("hashchange", () => location.reload(), { signal });
  const { box, showMessage } = alertBox();
  const state = h("p.meta");
  const conflicts = h("div");
  const onError = (/** @type {unknown} */ error) => {
    if (signal.aborted) return;
    showMessage(explain(error));
    // The link was revoked, or the event is somebody else's now.
    if (error instanceof ApiError && [401, 403].includes(error.status)) void scanner.forget();
  };
  const update = () => {
    const waiting = scanner.waiting ? ` · ${tn("scan.waiting", scanner.waiting)}` : "";
    state.textContent = t("scan.counts", scanner.counts) + waiting;
    replace(conflicts, scanner.conflicts.length ? conflictList(scanner) : null);
  };
  const scanner = new Scanner({ event, token, signal, onChange: update, onError });
  const { result, scan } = resultView(scanner, onError);
  const search = searchView(scanner, scan);
  const camera = cameraView((code) => scan({ code }), signal);
  const title = h("div", h("h1", event.title), state);
  replace(root, h("div.scanner", title, box, conflicts, camera.view, result, search, deviceForm(scanner)));
  if (stored) await scanner.use(stored);
  try {
    await scanner.sync();
  } catch (error) {
    // Without an account or a link, log in first.
    if (!token && error instanceof ApiError && error.status === 401) throw error;
    if (!stored || !isPassing(error)) onError(error);
  }
  void camera.loaded.then(() => keepPage("/scan"));
}

/**
 * What the latest scan shows, in words, colour and sound, and the function that scans.
 * @param {Scanner} scanner
 * @param {(error: unknown) => void} onError
 */
function resultView(scanner, onError) {
  const result = h("div.scan-result", { role: "status", "aria-live": "assertive" });
  /** @param {Target} target */
  const scan = async (target) => {
    // The previous verdict must not stand for this scan.
    result.className = "scan-result";
    replace(result, h("span", t("scan.checking")));
    try {
      const verdict = await scanner.scan(target);
      show(verdict);
    } catch (error) {
      show({ tone: "warn", kind: "failed" });
      onError(error);
    }
  };
  /** @param {Verdict} verdict */
  const show = (verdict) => {
    if (scanner.signal.aborted) return;
    const { tone, kind, holder, offline } = verdict;
    result.className = `scan-result ${tone}`;
    replace(
      result,
      icon({ good: "check", warn: "warning", bad: "close" }[tone]),
      h("strong", t(`scan.${tone}`)),
      holder && h("span.holder", holder),
      kind !== "ok" && h("span", reason(verdict, scanner.event)),
      offline && h("small", t("scan.offline")),
      !offline && undoButton(scanner, verdict, () => replace(result), onError),
    );
    result.scrollIntoView({ block: "nearest" });
    navigator.vibrate?.(tone === "good" ? 80 : [200, 80, 200]);
    beep(tone);
  };
  return { result, scan };
}

/**
 * For the organizer, takes back a check-in.
 * @param {Scanner} scanner
 * @param {Verdict} verdict
 * @param {() => void} done
 * @param {(error: unknown) => void} onError
 */
function undoButton(scanner, { kind, ticketId }, done, onError) {
  if (scanner.token || !ticketId || !["ok", "already_checked_in"].includes(kind)) return null;
  const button = h("button.button.plain", t("scan.undo"));
  button.addEventListener("click", () => whileBusy(button, () => scanner.undo(ticketId)).then(done, onError));
  return button;
}

/** When a ticket was checked in, without the date where that goes without saying. @param {string} at @param {Api.EventItem} event */
const doorTime = (at, { time_zone: zone }) =>
  Date.now() - Date.parse(at) < 12 * 3_600_000
    ? date(at, { hour: "numeric", minute: "2-digit" }, zone)
    : shortTime(at, zone);

/** @param {Verdict} verdict @param {Api.EventItem} event */
function reason({ kind, at, device }, event) {
  if (kind === "already_checked_in" && at) {
    const time = doorTime(at, event);
    return device ? t("scan.used_by", { time, device }) : t("scan.used", { time });
  }
  return tOr(`scan.reason.${kind}`, tOr(`error.${kind}`, t("scan.reason.failed")));
}

/** @param {Scanner} scanner */
function conflictList(scanner) {
  const rows = scanner.conflicts.map((verdict) => {
    const why = reason(verdict, scanner.event);
    return h("li", h("strong", verdict.holder || t("scan.nameless")), ": ", why);
  });
  const clear = h("button.button.plain", { onclick: () => scanner.clearConflicts() }, t("scan.conflicts_seen"));
  return h("section.alert", { role: "alert" }, h("h2", t("scan.conflicts")), h("ul", rows), clear);
}

/**
 * Finds tickets by name or booking number, and takes codes from handheld scanners, which type them.
 * @param {Scanner} scanner
 * @param {(target: Target) => Promise<void>} scan
 */
function searchView(scanner, scan) {
  const search = field({
    name: "search",
    type: "search",
    label: t("scan.search"),
    hint: t("scan.search_hint"),
    required: true,
    autocomplete: "off",
    spellcheck: "false",
  });
  const input = search.control;
  const found = h("div", { "aria-live": "polite" });
  const draw = () => {
    const text = input.value.trim();
    const tickets = text && !isCode(text) ? scanner.search(text) : [];
    replace(
      found,
      h(
        "ul.found",
        tickets.slice(0, MAX_FOUND).map((ticket) => foundRow(ticket, scanner, scan, draw)),
      ),
      tickets.length > MAX_FOUND && h("p.hint", tn("scan.more_found", tickets.length - MAX_FOUND)),
      text && !isCode(text) && !tickets.length && h("p.hint", t("scan.none_found")),
    );
  };
  input.addEventListener("input", draw);
  const element = h("form.scan-search", { role: "search" }, search.root, found);
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!isCode(text)) return;
    input.value = "";
    await scan({ code: text });
    input.focus();
  });
  return element;
}

/**
 * @param {Api.ExpectedTicket} ticket
 * @param {Scanner} scanner
 * @param {(target: Target) => Promise<void>} scan
 * @param {() => void} redraw
 */
function foundRow({ id, booking_id: booking, holder_name: holder, state, checked_in_at: at }, scanner, scan, redraw) {
  const used = at ? t("scan.in_at", { time: doorTime(at, scanner.event) }) : t("scan.in");
  const button = h("button.button", { "aria-label": t("scan.check_in_name", { holder }) }, t("scan.check_in"));
  button.addEventListener("click", async () => {
    await whileBusy(button, () => scan({ ticket_id: id }));
    redraw();
  });
  return h(
    "li",
    h("span", h("strong", holder || t("scan.nameless")), h("br"), h("small", `#${booking}`)),
    state === "valid" ? button : h("small", state === "used" ? used : t("ticket.void")),
  );
}

/** @param {Scanner} scanner */
function deviceForm(scanner) {
  const value = localStorage.getItem(DEVICE_KEY) ?? "";
  const device = field({ name: "device", label: t("scan.device"), hint: t("scan.device_hint"), maxlength: 60, value });
  const apply = () => (scanner.device = device.control.value.trim() || t("scan.device_default"));
  device.control.addEventListener("change", () => {
    apply();
    localStorage.setItem(DEVICE_KEY, device.control.value.trim());
  });
  apply();
  return device.root;
}

/** @type {AudioContext | undefined} */
let audio;

/** Browsers allow sound only after the visitor did something on the page. @param {AbortSignal} signal */
function allowSound(signal) {
  const resume = () => {
    audio ??= new AudioContext();
    void audio.resume();
  };
  for (const name of ["click", "keydown"]) addEventListener(name, resume, { signal });
}

/** One high tone for good, two for a warning, three low ones for bad. @param {import("../scanner.js").Tone} tone */
function beep(tone) {
  if (audio?.state !== "running") return;
  for (const [i, frequency] of BEEPS[tone].entries()) {
    const oscillator = new OscillatorNode(audio, { frequency });
    oscillator.connect(audio.destination);
    oscillator.start(audio.currentTime + i * 0.2);
    oscillator.stop(audio.currentTime + i * 0.2 + 0.15);
  }
}
