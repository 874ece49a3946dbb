// QR codes (ISO/IEC 18004) of short texts: bytes, error correction level M, versions 1 to 9.
import { s } from "./dom.js";

/** Data codewords of each version. */
const DATA = [16, 28, 44, 64, 86, 108, 124, 154, 182];
/** Blocks of each version, and the error correction codewords of one block. */
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5];
const CORRECTION = [10, 16, 26, 18, 24, 16, 18, 22, 22];

/** @typedef {(0 | 1)[][]} Modules rows of dark (1) and light (0) modules */

/**
 * A picture of the text's QR code, with its quiet zone.
 * @param {string} text
 * @param {string} label
 */
export function qrCode(text, label) {
  const modules = encode(text);
  const size = modules.length + 8;
  const path = modules.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("");
  return s(
    "svg",
    { viewBox: `0 0 ${size} ${size}`, class: "qr", role: "img", "aria-label": label, "shape-rendering": "crispEdges" },
    s("rect", { width: size, height: size, fill: "#fff" }),
    s("path", { d: path, fill: "#000" }),
  );
}

/** @param {string} text @returns {Modules} */
export function encode(text) {
  const bytes = new TextEncoder().encode(text);
  const version = DATA.findIndex((capacity) => capacity >= bytes.length + 2) + 1;
  if (!version) throw new RangeError("the text is too long for a QR code");
  const codewords = interleave(dataCodewords(bytes, DATA[version - 1]), version);
  const { modules, reserved } = functionPatterns(version);
  place(modules, reserved, codewords);
  const masked = MASKS.map((_, mask) => withMask(modules, reserved, mask));
  return masked.reduce((best, other) => (penalty(other) < penalty(best) ? other : best));
}

/** The mode (bytes), the length, the bytes, and padding. @param {Uint8Array} bytes @param {number} capacity */
function dataCodewords(bytes, capacity) {
  const halves = [4, bytes.length >> 4, bytes.length & 15, ...[...bytes].flatMap((byte) => [byte >> 4, byte & 15]), 0];
  const words = [];
  for (let i = 0; i < halves.length; i += 2) words.push((halves[i] << 4) | halves[i + 1]);
  for (let pad = 0xec; words.length < capacity; pad ^= 0xec ^ 0x11) words.push(pad);
  return words;
}

/** Splits the data into blocks, and mixes their codewords and corrections. @param {number[]} data @param {number} version */
function interleave(data, version) {
  const count = BLOCKS[version - 1];
  const short = Math.floor(data.length / count);
  const longBlocks = data.length % count;
  const blocks = [];
  for (let i = 0, start = 0; i < count; i++) {
    const length = short + (i >= count - longBlocks ? 1 : 0);
    blocks.push(data.slice(start, start + length));
    start += length;
  }
  const corrections = blocks.map((block) => correction(block, CORRECTION[version - 1]));
  /** @param {number[][]} parts */
  const mixed = (parts) =>
    Array.from({ length: Math.max(...parts.map((part) => part.length)) }, (_, i) => parts.map((part) => part[i]))
      .flat()
      .filter((word) => word !== undefined);
  return [...mixed(blocks), ...mixed(corrections)];
}

/** The product of two elements of GF(256). @param {number} a @param {number} b */
function multiply(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ (product >> 7 ? 0x11d : 0);
    if ((b >> bit) & 1) product ^= a;
  }
  return product;
}

/** The Reed-Solomon codewords of a block. @param {number[]} block @param {number} degree */
function correction(block, degree) {
  const divisor = Array(degree).fill(0);
  divisor[degree - 1] = 1;
  for (let i = 0, root = 1; i < degree; i++, root = multiply(root, 2)) {
    for (let j = 0; j < degree; j++) divisor[j] = multiply(divisor[j], root) ^ (divisor[j + 1] ?? 0);
  }
  const rest = Array(degree).fill(0);
  for (const word of block) {
    const factor = word ^ rest.shift();
    rest.push(0);
    divisor.forEach((coefficient, i) => (rest[i] ^= multiply(coefficient, factor)));
  }
  return rest;
}

/** Everything that is not data; the format is drawn with the mask. @param {number} version */
function functionPatterns(version) {
  const size = version * 4 + 17;
  const modules = /** @type {Modules} */ (Array.from({ length: size }, () => Array(size).fill(0)));
  const reserved = Array.from({ length: size }, () => Array(size).fill(false));
  /** @param {number} x @param {number} y @param {boolean} dark */
  const set = (x, y, dark) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    modules[y][x] = dark ? 1 : 0;
    reserved[y][x] = true;
  };
  for (let i = 0; i < size; i++) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  for (const [cx, cy] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ]) {
    for (let dy = -4; dy <= 4; dy++) {
      for (let dx = -4; dx <= 4; dx++) {
        const ring = Math.max(Math.abs(dx), Math.abs(dy));
        set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
      }
    }
  }
  const far = size - 7;
  const centers = version === 1 ? [] : version < 7 ? [6, far] : [6, (far + 6) / 2, far];
  for (const [i, cx] of centers.entries()) {
    for (const [j, cy] of centers.entries()) {
      const last = centers.length - 1;
      if ((!i && !j) || (!i && j === last) || (i === last && !j)) continue;
      for (let dy = -2; dy <= 2; dy++)
        for (let dx = -2; dx <= 2; dx++) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
    }
  }
  for (const [x, y] of formatPlaces(size).flat()) set(x, y, false);
  set(8, size - 8, true);
  if (version >= 7) {
    const bits = (version << 12) | remainder(version, 12, 0x1f25);
    for (let i = 0; i < 18; i++) {
      const [near, along] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(near, along, ((bits >> i) & 1) === 1);
      set(along, near, ((bits >> i) & 1) === 1);
    }
  }
  return { modules, reserved };
}

/** The checksum of a BCH code. @param {number} value @param {number} degree @param {number} generator */
function remainder(value, degree, generator) {
  let rest = value;
  for (let i = 0; i < degree; i++) rest = (rest << 1) ^ ((rest >> (degree - 1)) * generator);
  return rest;
}

/** Where the 15 bits of the format are, twice, from the lowest on. @param {number} size */
function formatPlaces(size) {
  /** @type {[number, number][]} */
  const around = [];
  for (let i = 0; i < 6; i++) around.push([8, i]);
  around.push([8, 7], [8, 8], [7, 8]);
  for (let i = 9; i < 15; i++) around.push([14 - i, 8]);
  /** @type {[number, number][]} */
  const split = [];
  for (let i = 0; i < 8; i++) split.push([size - 1 - i, 8]);
  for (let i = 8; i < 15; i++) split.push([8, size - 15 + i]);
  return [around, split];
}

/**
 * Places the bits in columns of two, upwards and downwards in turn, from the right.
 * @param {Modules} modules
 * @param {boolean[][]} reserved
 * @param {number[]} codewords
 */
function place(modules, reserved, codewords) {
  const size = modules.length;
  let bit = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++) {
      for (const x of [right, right - 1]) {
        const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
        if (reserved[y][x] || bit >= codewords.length * 8) continue;
        modules[y][x] = /** @type {0 | 1} */ ((codewords[bit >> 3] >> (7 - (bit & 7))) & 1);
        bit++;
      }
    }
  }
}

/** @type {((x: number, y: number) => number)[]} */
const MASKS = [
  (x, y) => (x + y) % 2,
  (_, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** @param {Modules} modules @param {boolean[][]} reserved @param {number} mask @returns {Modules} */
function withMask(modules, reserved, mask) {
  const masked = /** @type {Modules} */ (
    modules.map((row, y) => row.map((dark, x) => (!reserved[y][x] && MASKS[mask](x, y) === 0 ? 1 - dark : dark)))
  );
  // Level M is 00, so the mask is the whole value.
  const bits = ((mask << 10) | remainder(mask, 10, 0x537)) ^ 0x5412;
  for (const places of formatPlaces(modules.length))
    places.forEach(([x, y], i) => (masked[y][x] = /** @type {0 | 1} */ ((bits >> i) & 1)));
  return masked;
}

/** How hard a code is to read: long runs, blocks, look-alikes of finders, and imbalance. @param {Modules} modules */
function penalty(modules) {
  const size = modules.length;
  const lines = [...modules, ...modules.map((_, x) => modules.map((row) => row[x]))].map((line) => line.join(""));
  let points = 0;
  for (const line of lines) {
    for (const run of line.match(/0{5,}|1{5,}/g) ?? []) points += run.length - 2;
    points += 40 * (line.match(/(?=10111010000|00001011101)/g)?.length ?? 0);
  }
  for (let y = 1; y < size; y++) {
    for (let x = 1; x < size; x++) {
      const sum = modules[y][x] + modules[y][x - 1] + modules[y - 1][x] + modules[y - 1][x - 1];
      if (sum % 4 === 0) points += 3;
    }
  }
  const dark = modules.flat().filter(Boolean).length;
  return points + 10 * Math.floor(Math.abs((dark * 20) / size ** 2 - 10));
}
