// QR codes (ISO/IEC 18004) for short texts: byte mode, error correction M, versions 1 to 6.
import { s } from "./dom.js";

/** Per version: data codewords, correction codewords per block, blocks. */
const VERSIONS = [
  [16, 10, 1],
  [28, 16, 1],
  [44, 26, 1],
  [64, 18, 2],
  [86, 24, 2],
  [108, 16, 4],
];

const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let power = 0, value = 1; power < 255; power++) {
  EXP[power] = EXP[power + 255] = value;
  LOG[value] = power;
  value = (value << 1) ^ (value & 128 ? 0x11d : 0);
}

/**
 * @param {string} text up to 106 bytes in UTF-8
 * @param {string} label what a screen reader says
 */
export function qrCode(text, label) {
  const modules = encode(new TextEncoder().encode(text));
  const size = modules.length + 8;
  const path = modules.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("");
  return s(
    "svg",
    { class: "qr", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, "shape-rendering": "crispEdges" },
    s("rect", { width: size, height: size, fill: "#fff" }),
    s("path", { d: path, fill: "#000" }),
  );
}

/** @param {Uint8Array} bytes @returns {boolean[][]} rows of modules, true is dark */
export function encode(bytes) {
  const version = VERSIONS.findIndex(([data]) => bytes.length + 2 <= data) + 1;
  if (!version) throw new RangeError("too long for a QR code here");
  const size = 17 + 4 * version;
  /** @type {(boolean | undefined)[][]} */
  const grid = Array.from({ length: size }, () => new Array(size).fill(undefined));
  drawPatterns(grid, version);
  drawFormat(grid);
  drawData(grid, codewords(bytes, version));
  return /** @type {boolean[][]} */ (grid);
}

/** @param {Uint8Array} bytes @param {number} version */
function codewords(bytes, version) {
  const [capacity, correction, blocks] = VERSIONS[version - 1];
  const bits = [0, 1, 0, 0, ...toBits(bytes.length), ...[...bytes].flatMap(toBits), 0, 0, 0, 0];
  const data = Array.from({ length: bits.length / 8 }, (_, at) =>
    Number.parseInt(bits.slice(at * 8, at * 8 + 8).join(""), 2),
  );
  for (let pad = 0xec; data.length < capacity; pad ^= 0xec ^ 0x11) data.push(pad);
  const length = capacity / blocks;
  const parts = Array.from({ length: blocks }, (_, block) => data.slice(block * length, (block + 1) * length));
  return [...interleave(parts), ...interleave(parts.map((part) => remainder(part, correction)))];
}

/** @param {number} byte */
const toBits = (byte) => Array.from({ length: 8 }, (_, at) => (byte >> (7 - at)) & 1);

/** @param {number[][]} blocks */
const interleave = (blocks) => blocks[0].flatMap((_, at) => blocks.map((block) => block[at]));

/** Reed–Solomon correction of one block. @param {number[]} data @param {number} degree */
function remainder(data, degree) {
  let generator = [1];
  for (let power = 0; power < degree; power++) {
    const next = [...generator, 0];
    generator.forEach((factor, at) => (next[at + 1] ^= multiply(factor, EXP[power])));
    generator = next;
  }
  const rest = [...data, ...new Array(degree).fill(0)];
  data.forEach((_, at) => {
    const factor = rest[at];
    generator.forEach((value, offset) => (rest[at + offset] ^= multiply(value, factor)));
  });
  return rest.slice(data.length);
}

/** @param {number} a @param {number} b */
const multiply = (a, b) => (a && b ? EXP[LOG[a] + LOG[b]] : 0);

/** Finders, timing and alignment. @param {(boolean | undefined)[][]} grid @param {number} version */
function drawPatterns(grid, version) {
  const size = grid.length;
  for (let at = 8; at < size - 8; at++) grid[6][at] = grid[at][6] = at % 2 === 0;
  for (const [cx, cy] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ])
    rings(grid, cx, cy, 4, (ring) => ring !== 2 && ring !== 4);
  if (version > 1) rings(grid, size - 7, size - 7, 2, (ring) => ring !== 1);
  grid[size - 8][8] = true;
}

/**
 * @param {(boolean | undefined)[][]} grid
 * @param {number} cx
 * @param {number} cy
 * @param {number} radius
 * @param {(ring: number) => boolean} dark
 */
function rings(grid, cx, cy, radius, dark) {
  for (let y = cy - radius; y <= cy + radius; y++) {
    for (let x = cx - radius; x <= cx + radius; x++) {
      if (grid[y]?.[x] !== undefined || x < 0 || x >= grid.length || !grid[y]) continue;
      grid[y][x] = dark(Math.max(Math.abs(x - cx), Math.abs(y - cy)));
    }
  }
}

/** Level M (00) and mask 0 (000), twice. @param {(boolean | undefined)[][]} grid */
function drawFormat(grid) {
  const size = grid.length;
  const format = 0b101010000010010;
  for (let at = 0; at < 15; at++) {
    const dark = ((format >> at) & 1) === 1;
    const near = at < 6 ? at : at < 8 ? at + 1 : 14 - at;
    if (at < 8) grid[near][8] = dark;
    else grid[8][at === 8 ? 7 : near] = dark;
    if (at < 8) grid[8][size - 1 - at] = dark;
    else grid[size - 15 + at][8] = dark;
  }
}

/** Up and down in columns of two, from the right, mask 0. @param {(boolean | undefined)[][]} grid @param {number[]} words */
function drawData(grid, words) {
  const size = grid.length;
  const bits = words.flatMap(toBits);
  let next = 0;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    const upward = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step++) {
      const y = upward ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (grid[y][x] !== undefined) continue;
        grid[y][x] = (bits[next++] === 1) !== ((x + y) % 2 === 0);
      }
    }
  }
}
