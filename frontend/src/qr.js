// The picture of a QR code.
import { encodeQR } from "../vendor/qr/index.js";
import { s } from "./dom.js";

/** The quiet zone that readers need on each side, in modules (ISO/IEC 18004). */
const BORDER = 4;

/**
 * @param {string} text
 * @param {string} label
 */
export function qrCode(text, label) {
  const modules = encodeQR(text, "raw", { ecc: "medium", border: BORDER });
  const size = modules.length;
  const path = modules.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join("");
  return s(
    "svg",
    { viewBox: `0 0 ${size} ${size}`, class: "qr", role: "img", "aria-label": label, "shape-rendering": "crispEdges" },
    // Readers need dark on light, in dark mode too.
    s("rect", { width: size, height: size, fill: "#fff" }),
    s("path", { d: path, fill: "#000" }),
  );
}
