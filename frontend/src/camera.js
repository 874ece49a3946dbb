// The camera of the scanner: reads QR codes by the browser's own detector, or by a library where it has none.
import { h, pause } from "./dom.js";
import { t } from "./i18n.js";
import { alertBox, whileBusy } from "./views.js";

/** The pause between two looks at the camera's picture. */
const LOOK_MS = 150;
/** The same code in front of the camera is not scanned again within this time. */
const SAME_CODE_MS = 5000;
const VIDEO = { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } };

/**
 * The view, and when all files that it needs have been loaded, as far as they could be.
 * @param {(code: string) => Promise<void>} scan
 * @param {AbortSignal} signal
 * @returns {{ view: HTMLElement, loaded: Promise<unknown> }}
 */
export function cameraView(scan, signal) {
  if (!navigator.mediaDevices) return { view: h("p.hint", t("scan.no_camera")), loaded: Promise.resolve() };
  // Loaded now, so that it is there without a network.
  let detector = newDetector();
  const loaded = detector.catch(() => {
    // Starting the camera tries again.
  });
  const { box, showMessage } = alertBox();
  const video = h("video", { playsinline: true, muted: true, "aria-label": t("scan.camera") });
  const torch = h("button.button.plain", { hidden: true, "aria-pressed": "false" }, t("scan.torch"));
  const picture = h("div.camera", { hidden: true }, video, torch);
  const start = h("button.button.wide", t("scan.start"));
  start.addEventListener("click", async () => {
    showMessage();
    try {
      await whileBusy(start, async () => {
        video.srcObject = await openCamera(torch, signal);
        await video.play();
      });
      start.hidden = true;
      picture.hidden = false;
      keepAwake(signal);
      detector = detector.catch(newDetector);
      await look(await detector, video, scan, signal);
    } catch {
      if (!signal.aborted) showMessage(t("scan.camera_failed"));
    }
  });
  return { view: h("section", { "aria-label": t("scan.camera") }, start, picture, box), loaded };
}

/** @returns {Promise<BarcodeDetector>} */
async function newDetector() {
  const native = globalThis.BarcodeDetector;
  const formats = (await native?.getSupportedFormats().catch(() => [])) ?? [];
  const Detector =
    native && formats.includes("qr_code") ? native : (await import("../vendor/qr/decode.js")).BarcodeDetector;
  return new Detector({ formats: ["qr_code"] });
}

/**
 * Opens the camera until the page is left, with its torch if it has one.
 * @param {HTMLButtonElement} torch
 * @param {AbortSignal} signal
 */
async function openCamera(torch, signal) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: VIDEO });
  const [track] = stream.getVideoTracks();
  const stop = () => track.stop();
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  torch.hidden = !("torch" in (track.getCapabilities?.() ?? {}));
  torch.addEventListener("click", async () => {
    const on = torch.getAttribute("aria-pressed") !== "true";
    const light = /** @type {MediaTrackConstraintSet} */ ({ torch: on });
    await track.applyConstraints({ advanced: [light] });
    torch.setAttribute("aria-pressed", String(on));
  });
  return stream;
}

/** Keeps the screen on, which the browser allows while the page is visible. @param {AbortSignal} signal */
function keepAwake(signal) {
  const request = async () => {
    const lock = document.hidden ? undefined : await navigator.wakeLock?.request("screen").catch(() => undefined);
    if (signal.aborted) void lock?.release();
    signal.addEventListener("abort", () => void lock?.release());
  };
  document.addEventListener("visibilitychange", request, { signal });
  void request();
}

/**
 * @param {BarcodeDetector} detector
 * @param {HTMLVideoElement} video
 * @param {(code: string) => Promise<void>} scan
 * @param {AbortSignal} signal
 */
async function look(detector, video, scan, signal) {
  let [last, seenAt] = ["", 0];
  while (!signal.aborted) {
    const [found] = await detector.detect(video).catch(() => []);
    const code = found?.rawValue ?? "";
    if (code && (code !== last || Date.now() - seenAt > SAME_CODE_MS)) {
      last = code;
      await scan(code);
    }
    // Counted from when it was last seen: a ticket that stays in view is scanned once.
    if (code) seenAt = Date.now();
    await pause(LOOK_MS, signal);
  }
}
