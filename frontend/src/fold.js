// Names folded for comparison, as the services fold them: the search at the door also works without a network.

/** As in crates/contracts/src/text/fold.rs, whose tests compare the two. @type {[string, string][]} */
const PLAIN = [
  ["æ", "ae"],
  ["œ", "oe"],
  ["þ", "th"],
  ["øɵɔ", "o"],
  ["đðɖɗƌ", "d"],
  ["łƚɫⱡ", "l"],
  ["ħⱨ", "h"],
  ["ıɨɩ", "i"],
  ["ŧƭʈⱦ", "t"],
  ["ŋɲƞ", "n"],
  ["ƀɓƃ", "b"],
  ["ǥɠꞡ", "g"],
  ["ƶȥⱬ", "z"],
  ["ȼƈꞓ", "c"],
  ["ɇəǝɛ", "e"],
  ["ⱥ", "a"],
  ["ɉ", "j"],
  ["ĸƙⱪꝁꞣ", "k"],
  ["ƥᵽ", "p"],
  ["ɋ", "q"],
  ["ɍɽꞧ", "r"],
  ["ȿꞩ", "s"],
  ["ʉ", "u"],
  ["ʋ", "v"],
  ["ⱳ", "w"],
  ["ɏƴ", "y"],
  ["ƒ", "f"],
  ["‘’‛ʻʼʹ`′", "'"],
  ["“”„‟«»", '"'],
  ["‐‒–—―−", "-"],
  ["ـ", ""],
];

/** @type {Map<string, string>} */
const plainLetters = new Map(
  PLAIN.flatMap(([letters, plain]) => [...letters].map((letter) => /** @type {[string, string]} */ ([letter, plain]))),
);

/**
 * Diacritics and invisible characters. Marks of Indic and other scripts are letters of their words, and the voicing
 * marks of kana make other syllables.
 */
const DROPPED =
  /(?![\u3099\u309a])[\p{Script=Inherited}\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}](?<=\p{Mn})|\p{Me}|\p{Default_Ignorable_Code_Point}/gu;

/** @param {string} text */
const decomposed = (text) => text.normalize("NFKD").replace(DROPPED, "");

/** `text` without case, diacritics and variants of letters. @param {string} text */
export function fold(text) {
  // Upper case resolves ß and the like, but not a capital one. Only lower case has a final sigma.
  const lower = decomposed(text).toLowerCase().toUpperCase().toLowerCase().replaceAll("ς", "σ");
  const plain = [...decomposed(lower)].map((letter) => plainLetters.get(letter) ?? letter).join("");
  return plain.split(/\s+/u).filter(Boolean).join(" ");
}

/** Whether every term of `search` is part of `text`. Nothing matches a search without terms. @param {string} text @param {string} search */
export function matches(text, search) {
  const terms = fold(search).split(" ").filter(Boolean);
  const folded = fold(text);
  return terms.length > 0 && terms.every((term) => folded.includes(term));
}
