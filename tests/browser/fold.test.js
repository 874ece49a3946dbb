// The search at the door folds names as the services do.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fold, matches } from "../../frontend/src/fold.js";

// Those of crates/contracts/src/text/fold.rs.
test("what people take for the same is the same", () => {
  for (const [one, other] of [
    ["Straße", "strasse"],
    ["STRASSE", "straße"],
    ["GROẞ", "gross"],
    ["Ørsted", "orsted"],
    ["Łódź", "lodz"],
    ["Đà Nẵng", "da nang"],
    ["Æther", "aether"],
    ["Œuvre", "oeuvre"],
    ["Þórður", "thordur"],
    ["Zo\u{eb}", "zoe\u{308}"],
    ["ΟΔΥΣΣΕΎΣ", "οδυσσευς"],
    ["İSTANBUL", "istanbul"],
    ["ısparta", "ISPARTA"],
    ["ＲＵＳＴ", "rust"],
    ["ﬁnal", "FINAL"],
    ["①", "1"],
    ["O’Brien", "o'brien"],
    ["so\u{ad}ft", "soft"],
    ["Ёлка", "елка"],
    ["كِتَاب", "كتاب"],
    ["שָׁלוֹם", "שלום"],
    ["  Ada \u{3000} Lovelace ", "ada lovelace"],
    ["ǅ", "dz"],
  ])
    assert.equal(fold(one), fold(other), `${one} and ${other}`);
});

test("what people take for different stays different", () => {
  for (const [one, other] of [
    ["かき", "かぎ"],
    ["हिन्दी", "हनद"],
    ["ไม้", "ไม"],
    ["東", "京"],
  ])
    assert.notEqual(fold(one), fold(other), `${one} and ${other}`);
  assert.ok(fold("한국").startsWith(fold("하")));
});

test("a search matches parts of a name in any order, and nothing without a term", () => {
  assert.ok(matches("Zoe\u{308} Ørsted-Weiß", "weiss ZO\u{cb}"));
  assert.ok(!matches("Zoë Ørsted", "zoe weiss"));
  for (const nothing of ["", " ", "\u{301}", "\u{200b}", "\u{1f389}", "("])
    assert.ok(!matches("Zoë", nothing), nothing);
});
