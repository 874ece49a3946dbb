//! Text folded for comparison: letters that people take for the same fold to the same.

use caseless::default_case_fold_str;
use icu_properties::props::{BinaryProperty, DefaultIgnorableCodePoint, EnumeratedProperty, GeneralCategory};
use unicode_normalization::{
    UnicodeNormalization,
    char::{canonical_combining_class, is_combining_mark},
};

/// `text` folded for comparison: compatibility forms resolved (as in NFKC), full case folding, no diacritics and no
/// invisible characters, plain letters for those that do not decompose (o for ø, ae for æ), single spaces for blanks.
///
/// The result is decomposed, so that the beginning of a Hangul syllable is the beginning of its key. Turkish dotted and
/// dotless i are both `i`: people without a Turkish keyboard cannot type the other one.
///
/// Stored keys are made with this function: whoever changes its result raises [`FOLD_VERSION`], by which event-service
/// finds old keys, and adds a migration to booking-service that sets every `attendee_key` to null.
pub fn fold(text: &str) -> String {
    // Lower case first: the standard library knows newer letters than the tables for case folding.
    let plain: String = text.nfkd().filter(|c| !is_dropped(*c)).flat_map(char::to_lowercase).collect();
    let folded = default_case_fold_str(&plain);
    let mut key = String::with_capacity(folded.len());
    for c in folded.nfkd().filter(|c| !is_dropped(*c)) {
        push_plain(&mut key, c);
    }
    key.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The version of the results of [`fold`] and [`words`].
pub const FOLD_VERSION: i32 = 1;

/// The words of `text`, folded: runs of letters, digits and their marks.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    let folded = fold(text);
    let parts = folded.split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c));
    // A mark without a letter is not a word.
    let words: Vec<String> = parts.filter(|word| word.contains(char::is_alphanumeric)).map(str::to_owned).collect();
    words.into_iter()
}

/// Diacritics and invisible characters. Vowel signs and the voicing marks of kana do not count as diacritics: they have
/// combining classes of their own, or none.
fn is_dropped(c: char) -> bool {
    match canonical_combining_class(c) {
        // Overlays; the points of Hebrew, Arabic and Syriac; everything below, above and around a letter.
        1 | 10..=36 | 200..=240 => true,
        _ => DefaultIgnorableCodePoint::for_char(c) || GeneralCategory::for_char(c) == GeneralCategory::EnclosingMark,
    }
}

/// Letters, and what people type for them on a plain keyboard. The site's search at the door has the same table.
const PLAIN: [(&str, &str); 31] = [
    ("æ", "ae"),
    ("œ", "oe"),
    ("þ", "th"),
    ("øɵɔ", "o"),
    ("đðɖɗƌ", "d"),
    ("łƚɫⱡ", "l"),
    ("ħⱨ", "h"),
    ("ıɨɩ", "i"),
    ("ŧƭʈⱦ", "t"),
    ("ŋɲƞ", "n"),
    ("ƀɓƃ", "b"),
    ("ǥɠꞡ", "g"),
    ("ƶȥⱬ", "z"),
    ("ȼƈꞓ", "c"),
    // The schwa of Azerbaijani and the open e of West African languages.
    ("ɇəǝɛ", "e"),
    ("ⱥ", "a"),
    ("ɉ", "j"),
    ("ĸƙⱪꝁꞣ", "k"),
    ("ƥᵽ", "p"),
    ("ɋ", "q"),
    ("ɍɽꞧ", "r"),
    ("ȿꞩ", "s"),
    ("ʉ", "u"),
    ("ʋ", "v"),
    ("ⱳ", "w"),
    ("ɏƴ", "y"),
    ("ƒ", "f"),
    ("‘’‛ʻʼʹ`′", "'"),
    ("“”„‟«»", "\""),
    ("‐‒–—―−", "-"),
    // It only stretches the letter before it.
    ("ـ", ""),
];

/// A folded character as people type it on a plain keyboard.
fn push_plain(key: &mut String, c: char) {
    // Most characters are plain already.
    if c.is_ascii_alphanumeric() {
        return key.push(c);
    }
    match PLAIN.iter().find(|(letters, _)| letters.contains(c)) {
        Some((_, plain)) => key.push_str(plain),
        None => key.push(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn what_people_take_for_the_same_is_the_same() {
        let same = [
            ("Straße", "strasse"),
            ("STRASSE", "straße"),
            ("GROẞ", "gross"),
            ("Ørsted", "orsted"),
            ("Łódź", "lodz"),
            ("Đà Nẵng", "da nang"),
            ("Æther", "aether"),
            ("Œuvre", "oeuvre"),
            ("Þórður", "thordur"),
            ("Zo\u{eb}", "zoe\u{308}"),
            ("ΟΔΥΣΣΕΎΣ", "οδυσσευς"),
            ("İSTANBUL", "istanbul"),
            ("ısparta", "ISPARTA"),
            ("ＲＵＳＴ", "rust"),
            ("ﬁnal", "FINAL"),
            ("①", "1"),
            ("O’Brien", "o'brien"),
            ("so\u{ad}ft", "soft"),
            ("Ёлка", "елка"),
            ("كِتَاب", "كتاب"),
            ("שָׁלוֹם", "שלום"),
            ("  Ada \u{3000} Lovelace ", "ada lovelace"),
            ("ǅ", "dz"),
        ];
        for (one, other) in same {
            assert_eq!(fold(one), fold(other), "{one} and {other}");
        }
    }

    #[test]
    fn the_site_folds_the_same_letters() {
        let site = include_str!("../../../../frontend/src/fold.js");

        for (letters, plain) in PLAIN {
            let quoted = if plain == "\"" { "'\"'".to_owned() } else { format!("\"{plain}\"") };
            assert!(site.contains(&format!("  [\"{letters}\", {quoted}],\n")), "{letters} is {plain}");
        }
        assert_eq!(site.matches("\n  [").count(), PLAIN.len());
    }

    #[test]
    fn what_people_take_for_different_stays_different() {
        for (one, other) in [("かき", "かぎ"), ("हिन्दी", "हनद"), ("ไม้", "ไม"), ("東", "京"), ("c#", "c")]
        {
            assert_ne!(fold(one), fold(other), "{one} and {other}");
        }
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(list("Café-Konzert, MÜNCHEN №5"), ["cafe", "konzert", "munchen", "no5"]);
        assert_eq!(list("हिन्दी दिवस").len(), 2);
        for wordless in ["", "(", " -- !? ", "\u{1f389}", "\u{301}", "\u{200d}", "\u{3164}"] {
            assert!(list(wordless).is_empty(), "{wordless:?}");
        }
    }

    #[test]
    fn the_beginning_of_a_hangul_syllable_is_the_beginning_of_its_key() {
        assert!(fold("한국").starts_with(&fold("하")));
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }

        #[test]
        fn composed_and_decomposed_text_is_the_same(text in "\\PC{0,40}") {
            let (composed, decomposed): (String, String) = (text.nfc().collect(), text.nfd().collect());
            prop_assert_eq!(fold(&composed), fold(&decomposed));
        }

        #[test]
        fn case_does_not_matter(text in "[\\p{Latin}\\p{Cyrillic}\\p{Armenian} ]{0,40}") {
            prop_assert_eq!(fold(&text.to_uppercase()), fold(&text));
        }
    }
}
