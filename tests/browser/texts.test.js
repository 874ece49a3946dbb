// The texts of all languages.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

const FOLDER = new URL("../../frontend/src/texts/", import.meta.url);

/** @param {object} texts @param {string} [path] @returns {[string, string][]} full keys and their texts */
const flat = (texts, path = "") =>
  Object.entries(texts).flatMap(([name, text]) =>
    typeof text === "string" ? [[path + name, text]] : flat(text, `${path}${name}.`),
  );

/** The full keys, each with the placeholders of its text. @param {string} file */
async function keysOf(file) {
  return flat(JSON.parse(await readFile(new URL(file, FOLDER), "utf8")))
    .map(([key, text]) => `${key} ${(text.match(/\{\w+\}/g) ?? []).sort().join(" ")}`)
    .sort();
}

test("all languages have the same texts", async () => {
  const files = await readdir(FOLDER);
  assert.ok(files.length > 1);
  const english = await keysOf("en.json");
  assert.ok(english.length > 200);
  for (const file of files) assert.deepEqual(await keysOf(file), english, file);
});

test("plural rules are those of the services", async () => {
  for (const file of await readdir(FOLDER)) {
    const rules = new Intl.PluralRules(file.replace(".json", ""));
    for (let n = 0; n <= 1000; n++) assert.equal(rules.select(n), n === 1 ? "one" : "other", `${file}: ${n}`);
  }
});
