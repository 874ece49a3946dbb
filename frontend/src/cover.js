// Pictures of events: the organizer's image, or a poster that is generated from the title.
import { h, s } from "./dom.js";

const WIDTH = 400;
const HEIGHT = 250;

/** The background, then the inks. */
const PALETTES = [
  "#1f2a44 #f26b4e #f8c26a #f5ebdd #3f6c9b",
  "#f4e3cf #d9472b #1e4d5c #f0a63c #84a98c",
  "#2b1d3a #e85d75 #ffb85c #7b4b94 #f7e9e3",
  "#0f3d3e #e2b659 #f1ede4 #d96c47 #3b8a7f",
  "#f7d9c4 #20324f #e0563f #8fb8ca #f6f1e7",
  "#22333b #c6ac8f #eae0d5 #d1603d #5e7f73",
  "#3a1f24 #f4a259 #f6e7cb #bc4b51 #5b8e7d",
  "#dfe7e2 #27474e #ee6c4d #f3bf58 #98b6b1",
].map((colours) => colours.split(" "));

/**
 * @param {{ title: string, category?: string | null, image_url?: string | null }} event
 * @returns {Element}
 */
export function cover(event) {
  const poster = () => draw(event.title, event.category ?? "");
  if (!/^https:/i.test(event.image_url ?? "")) return poster();
  const image = h("img.cover", { src: event.image_url, alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(poster()));
  return image;
}

/**
 * @param {string} title
 * @param {string} category chooses the pattern, so that events of a category look alike
 */
function draw(title, category) {
  const random = generator(title);
  const [background, ...inks] = PALETTES[Math.floor(random() * PALETTES.length)];
  const patterns = [tiles, rings, hills, beams];
  const kind = category ? hash(category.toLowerCase()) : hash(title) >>> 7;
  const ink = () => inks[Math.floor(random() * inks.length)];
  return s(
    "svg",
    { class: "cover", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    s("rect", { width: WIDTH, height: HEIGHT, fill: background }),
    patterns[kind % patterns.length](random, ink, inks),
  );
}

/** @typedef {() => number} Random */
/** @typedef {() => string} Ink */

/** Quarter circles, discs and squares on a grid. @param {Random} random @param {Ink} ink */
function tiles(random, ink) {
  const size = 50;
  const shapes = [];
  for (let x = 0; x < WIDTH; x += size) {
    for (let y = 0; y < HEIGHT; y += size) {
      const roll = random();
      if (roll < 0.12) continue;
      const fill = ink();
      // The thin stroke closes hairlines between adjacent shapes.
      const paint = { fill, stroke: fill, "stroke-width": 0.6 };
      const turn = `rotate(${Math.floor(random() * 4) * 90} ${x + 25} ${y + 25})`;
      if (roll < 0.24) shapes.push(s("circle", { cx: x + 25, cy: y + 25, r: roll < 0.18 ? 25 : 12, ...paint }));
      else if (roll < 0.34) shapes.push(s("rect", { x, y, width: size, height: size, ...paint }));
      else shapes.push(s("path", { d: `M${x} ${y}h50a50 50 0 0 1-50 50z`, transform: turn, ...paint }));
    }
  }
  return shapes;
}

/** Concentric circles behind bars. @param {Random} random @param {Ink} ink @param {string[]} inks */
function rings(random, ink, inks) {
  const [cx, cy] = [60 + random() * 280, 90 + random() * 160];
  const first = Math.floor(random() * inks.length);
  const shapes = [];
  for (let step = 0; step < 9; step++) {
    shapes.push(s("circle", { cx, cy, r: 300 - step * 34, fill: inks[(first + step) % inks.length] }));
  }
  const bars = Array.from({ length: 14 }, (_, bar) => {
    const height = 14 + random() * 90;
    return s("rect", {
      x: bar * 30 - 4,
      y: HEIGHT - height,
      width: 13,
      height: height + 9,
      rx: 6.5,
      fill: ink(),
      opacity: 0.9,
    });
  });
  return [...shapes.filter((_, step) => step > 1 || random() > 0.4), ...bars];
}

/** Hills under a sun. @param {Random} random @param {Ink} ink @param {string[]} inks */
function hills(random, ink, inks) {
  const first = Math.floor(random() * inks.length);
  const sun = s("circle", { cx: 70 + random() * 260, cy: 60 + random() * 50, r: 32 + random() * 30, fill: ink() });
  const ranges = Array.from({ length: 4 }, (_, row) => {
    const base = 105 + row * 38;
    const [a, b, c] = [random() * 70 - 35, random() * 80 - 40, random() * 60 - 30];
    const d = `M0 ${base + a}C90 ${base - 45 + b} 130 ${base + 45 + c} 200 ${base + c}S320 ${base - 50 + a} 400 ${base + b}V250H0z`;
    return s("path", { d, fill: inks[(first + row + 1) % inks.length] });
  });
  return [sun, ...ranges];
}

/** Stage lights above heads. @param {Random} random @param {Ink} ink @param {string[]} inks */
function beams(random, ink, inks) {
  const first = Math.floor(random() * inks.length);
  const shapes = Array.from({ length: 6 }, (_, beam) => {
    const [from, to, width] = [random() * WIDTH, random() * 520 - 60, 30 + random() * 80];
    const d = `M${from} -10L${to - width} 260H${to + width}z`;
    return s("path", { d, fill: inks[(first + beam) % inks.length], opacity: 0.78 });
  });
  const heads = Array.from({ length: 9 }, (_, head) =>
    s("circle", {
      cx: head * 50 + random() * 20 - 10,
      cy: 250 + random() * 14,
      r: 26 + random() * 10,
      fill: inks[(first + 3) % inks.length],
    }),
  );
  return [...shapes, s("circle", { cx: 90 + random() * 220, cy: 120, r: 34, fill: ink() }), ...heads];
}

/** @param {string} text */
function hash(text) {
  let state = 2166136261;
  for (const character of text) state = Math.imul(state ^ character.charCodeAt(0), 16777619);
  return state >>> 0;
}

/** A pseudorandom generator of numbers in [0, 1) (mulberry32). @param {string} seed @returns {Random} */
function generator(seed) {
  let state = hash(seed);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
