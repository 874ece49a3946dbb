// The scanner at the door, for the event's organizer and for people with a door link, whose token is in the fragment.
import { get } from "../api.js";
import { announce, h, icon, pause, replace } from "../dom.js";
import { explain, shortTime, t, tOr } from "../i18n.js";
import { Scanner } from "../scanner.js";
import { alertBox, setTitle, whileBusy } from "../views.js";

const DEVICE_KEY = "scanner.device";
/** The pause between two looks at the camera's picture. */
const LOOK_MS = 200;
/** The same code in front of the camera is not scanned again within this time. */
const SAME_CODE_MS = 5000;

/** @typedef {import("../scanner.js").Verdict} Verdict */

/** @type {PageModule["render"]} */
export async function render(root, { query, signal }) {
  const id = query.get("event") ?? "";
  const token = location.hash.slice(1) || undefined;
  /** @type {Api.EventItem} */
  const event = await get(`/api/events/${encodeURIComponent(id)}`, { signal });
  setTitle(t("scan.title"));
  const result = h("div.scan-result", { role: "status", "aria-live": "assertive" });
  const state = h("p.meta");
  const conflicts = h("ul.conflicts");
  const { box, showMessage } = alertBox();
  const device = h("input", {
    name: "device",
    maxlength: 60,
    value: localStorage.getItem(DEVICE_KEY) ?? t("scan.device_default"),
  });
  const scanner = new Scanner({ event: id, device: device.value, token, signal, onChange: () => update() });
  device.addEventListener("change", () => {
    scanner.device = device.value.trim() || t("scan.device_default");
    localStorage.setItem(DEVICE_KEY, scanner.device);
  });
  const update = () => {
    const { present, expected } = scanner.counts;
    const waiting = scanner.waiting ? ` · ${t("scan.waiting", { n: scanner.waiting })}` : "";
    state.textContent = t("scan.counts", { present, expected }) + waiting;
    replace(
      conflicts,
      scanner.conflicts.map((verdict) => h("li", t("scan.conflict", { reason: reason(verdict, event) }))),
    );
  };
  const scan = async (/** @type {string} */ code) => {
    try {
      const verdict = await scanner.scan(code.trim());
      if (!signal.aborted) show(result, verdict, event);
      showMessage();
    } catch (error) {
      if (!signal.aborted) showMessage(explain(error));
    }
  };
  replace(
    root,
    h("h1", event.title),
    state,
    box,
    cameraView(scan, signal),
    result,
    codeForm(scan),
    h("details", h("summary", t("scan.device")), h("label.field", t("scan.device_hint"), device)),
    conflicts,
  );
  update();
  await scanner.sync().catch((error) => showMessage(explain(error)));
}

/** @param {HTMLElement} result @param {Verdict} verdict @param {Api.EventItem} event */
function show(result, verdict, event) {
  const heading = t(`scan.${verdict.tone}`);
  result.className = `scan-result ${verdict.tone}`;
  replace(
    result,
    icon({ good: "check", warn: "warning", bad: "close" }[verdict.tone]),
    h("strong", heading),
    verdict.holder && h("span", verdict.holder),
    verdict.kind !== "ok" && h("span", reason(verdict, event)),
    verdict.offline && h("small", t("scan.offline")),
  );
  navigator.vibrate?.(verdict.tone === "good" ? 80 : [200, 80, 200]);
  beep(verdict.tone);
}

/** @param {Verdict} verdict @param {Api.EventItem} event */
function reason({ kind, at, device }, event) {
  if (kind === "already_checked_in" && at) {
    const time = shortTime(at, event.time_zone);
    return device ? t("scan.used_by", { time, device }) : t("scan.used", { time });
  }
  return tOr(`scan.reason.${kind}`, tOr(`error.${kind}`, kind));
}

/** A high tone for yes, a low one for no. @param {import("../scanner.js").Tone} tone */
function beep(tone) {
  const audio = new AudioContext();
  const oscillator = audio.createOscillator();
  oscillator.frequency.value = { good: 1320, warn: 440, bad: 220 }[tone];
  oscillator.connect(audio.destination);
  oscillator.start();
  oscillator.stop(audio.currentTime + 0.15);
  oscillator.addEventListener("ended", () => void audio.close());
}

/** @param {(code: string) => Promise<void>} scan */
function codeForm(scan) {
  const input = h("input", {
    name: "code",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    "aria-label": t("scan.code"),
  });
  const button = h("button.button", { type: "submit" }, t("scan.check"));
  const form = h("form.code-form", input, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await whileBusy(button, () => scan(input.value));
    input.select();
  });
  return form;
}

/**
 * The camera, where the browser reads QR codes itself.
 * @param {(code: string) => Promise<void>} scan
 * @param {AbortSignal} signal
 */
function cameraView(scan, signal) {
  if (!("BarcodeDetector" in globalThis) || !navigator.mediaDevices) return h("p.hint", t("scan.no_camera"));
  const { box, showMessage } = alertBox();
  const video = h("video", { playsinline: true, muted: true, hidden: true, "aria-label": t("scan.camera") });
  const button = h("button.button", t("scan.start"));
  button.addEventListener("click", async () => {
    try {
      const stream = await whileBusy(button, () =>
        navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }),
      );
      signal.addEventListener("abort", () => stream.getTracks().forEach((track) => track.stop()));
      video.srcObject = stream;
      video.hidden = false;
      button.hidden = true;
      await video.play();
      announce(t("scan.camera"));
      await look(video, scan, signal);
    } catch (error) {
      if (!signal.aborted) showMessage(t("scan.camera_failed"));
    }
  });
  return h("section.camera", video, button, box);
}

/** @param {HTMLVideoElement} video @param {(code: string) => Promise<void>} scan @param {AbortSignal} signal */
async function look(video, scan, signal) {
  const detector = new BarcodeDetector({ formats: ["qr_code"] });
  let [last, seenAt] = ["", 0];
  while (!signal.aborted) {
    const [found] = await detector.detect(video).catch(() => []);
    const code = found?.rawValue ?? "";
    if (code && (code !== last || Date.now() - seenAt > SAME_CODE_MS)) {
      [last, seenAt] = [code, Date.now()];
      await scan(code);
    }
    await pause(LOOK_MS, signal);
  }
}
