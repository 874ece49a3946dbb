// The choices of categories.
import assert from "node:assert/strict";
import { test } from "node:test";
import { categories, commonCategory } from "../../frontend/src/categories.js";

test("a category in another case is the common one, and offered once", () => {
  assert.equal(commonCategory("MUSIC"), "music");
  assert.ok(categories("Music").includes("Music"));
  assert.ok(!categories("Music").includes("music"));
  assert.equal(categories("Music").length, categories().length);
});

test("another category is offered too and has no common name", () => {
  assert.deepEqual(categories("Jazz"), [...categories(null), "Jazz"]);
  for (const own of ["all", "music.0", "constructor", "__proto__", ""]) assert.equal(commonCategory(own), undefined);
});
