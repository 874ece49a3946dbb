// QR codes, read by another program.
import assert from "node:assert/strict";
import { test } from "node:test";
import jsQR from "jsqr";
import { encode } from "../../frontend/src/qr.js";

/** What a reader finds in a picture of the text's code. @param {string} text */
function read(text) {
  const modules = encode(text);
  const [scale, margin] = [4, 4];
  const size = (modules.length + 2 * margin) * scale;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const dark = modules[Math.floor(y / scale) - margin]?.[Math.floor(x / scale) - margin];
      if (dark) pixels.fill(0, (y * size + x) * 4, (y * size + x) * 4 + 3);
    }
  }
  return jsQR.default(pixels, size, size)?.data;
}

test("texts of every length are read as they are", () => {
  const alphabet = "ticket-1.ABCdefGHI_0123456789-jklMNO";
  for (let length = 1; length <= 180; length += 7) {
    const text = Array.from({ length }, (_, i) => alphabet[(i * 7 + length) % alphabet.length]).join("");
    assert.equal(read(text), text, `${length} characters`);
  }
  assert.equal(read("Zoë 🎫"), "Zoë 🎫");
});

test("a text that does not fit is refused", () => {
  assert.throws(() => encode("x".repeat(181)), RangeError);
});
