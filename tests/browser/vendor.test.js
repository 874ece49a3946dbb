// The libraries in `frontend/vendor` are those of npm, unchanged.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

const VENDOR = new URL("../../frontend/vendor/", import.meta.url);

test("every vendored file is the one of the package", async () => {
  const files = await readdir(VENDOR, { recursive: true, withFileTypes: true });
  const names = files.filter((file) => file.isFile()).map((file) => `${file.parentPath}/${file.name}`);
  assert.ok(names.length > 0);
  for (const name of names) {
    const path = name.slice(VENDOR.pathname.length);
    const packaged = new URL(`node_modules/${path.replace("LICENSE.txt", "LICENSE-MIT")}`, import.meta.url);
    assert.equal(await readFile(name, "utf8"), await readFile(packaged, "utf8"), path);
  }
});
