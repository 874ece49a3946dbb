//! Which characters text may have: none that are invisible, and none that change the direction of the text around them.

use std::fmt;

use icu_properties::props::{
    BinaryProperty, DefaultIgnorableCodePoint, Emoji, EmojiModifier, EnumeratedProperty, ExtendedPictographic,
    GeneralCategory, JoiningType, NoncharacterCodePoint, Script, UnifiedIdeograph,
};
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// ZWJ: joins the characters on both sides of it.
const ZWJ: char = '\u{200d}';
/// ZWNJ: keeps characters apart that would join.
const ZWNJ: char = '\u{200c}';
/// Variation selector 16: shows an emoji as a coloured picture.
const EMOJI_STYLE: char = '\u{fe0f}';
/// Variation selector 15: shows an emoji as text.
const TEXT_STYLE: char = '\u{fe0e}';
/// The black flag. Followed by tags, it makes the flag of a part of a country.
const BLACK_FLAG: char = '\u{1f3f4}';
/// The parts of countries whose flags Unicode recommends for interchange: England, Scotland, Wales. Any other sequence
/// of tags shows as a black flag and hides its content.
const FLAG_TAGS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];
/// Characters that Unicode counts as letters or symbols but that show nothing: the blank of braille, the null
/// notehead, and blank hieroglyphs.
const BLANKS: [char; 4] = ['\u{2800}', '\u{1d159}', '\u{13441}', '\u{13442}'];

/// Why a text is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextError {
    /// A control character; in one line also an end of line.
    Control,
    /// An invisible character, or one that sets the direction of text.
    Invisible,
    /// Nothing visible: only blanks, or marks without a letter.
    Blank,
}

impl TextError {
    /// The message for the author of the text.
    pub fn message(self) -> &'static str {
        match self {
            Self::Control => "must not contain control characters",
            Self::Invisible => "must not contain invisible characters, or characters that set the direction of text",
            Self::Blank => "must have a visible character",
        }
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// Checks one line that must have something visible: a name, a title, a place.
pub fn check_line(text: &str) -> Result<(), TextError> {
    check_characters(text, |_| false)?;
    if text.chars().any(is_visible) { Ok(()) } else { Err(TextError::Blank) }
}

/// Checks a text of any number of lines, which may be empty.
pub fn check_lines(text: &str) -> Result<(), TextError> {
    check_characters(text, |c| matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}'))
}

fn check_characters(text: &str, is_line_end: fn(char) -> bool) -> Result<(), TextError> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if is_control(c) && !is_line_end(c) {
            return Err(TextError::Control);
        }
        at += match flag_length(&chars[at..]) {
            Some(length) => length,
            None if is_hidden(c) && !is_in_place(&chars, at) => return Err(TextError::Invisible),
            None => 1,
        };
    }
    Ok(())
}

/// Control characters, and the two separators that also end a line.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether a character is invisible everywhere.
pub fn is_hidden(c: char) -> bool {
    // Signs under numbers and joiners of hieroglyphs are visible, although their category is Format. Three have no own
    // script.
    let seen = Script::for_char(c) != Script::Common || matches!(c, '\u{605}' | '\u{6dd}' | '\u{8e2}');
    let format = GeneralCategory::for_char(c) == GeneralCategory::Format && !seen;
    // U+FFFC stands for an object that plain text does not have.
    DefaultIgnorableCodePoint::for_char(c) || NoncharacterCodePoint::for_char(c) || format || c == '\u{fffc}'
}

fn is_visible(c: char) -> bool {
    let category = GeneralCategory::for_char(c);
    let shows = !matches!(
        category,
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
            | GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    shows && !is_hidden(c) && !BLANKS.contains(&c)
}

/// The length, in characters, of the flag of a part of a country at the beginning of `chars`.
fn flag_length(chars: &[char]) -> Option<usize> {
    let (first, tags) = chars.split_first()?;
    let end = tags.iter().position(|c| *c == '\u{e007f}').filter(|_| *first == BLACK_FLAG)?;
    let name: Option<String> =
        tags[..end].iter().map(|c| char::from_u32(u32::from(*c).checked_sub(0xe0000)?)).collect();
    name.filter(|name| FLAG_TAGS.contains(&name.as_str())).map(|_| end + 2)
}

/// Whether a hidden character changes what is seen where it stands.
fn is_in_place(chars: &[char], at: usize) -> bool {
    let (before, after) = (&chars[..at], &chars[at + 1..]);
    let previous = before.last().copied();
    match chars[at] {
        ZWJ => joins_emoji(before, after) || is_in_conjunct(before, after) || shapes_arabic(previous, after),
        ZWNJ => parts_joining_letters(before, after) || is_in_conjunct(before, after),
        EMOJI_STYLE | TEXT_STYLE => previous.is_some_and(|c| has_emoji_style(c, after)),
        // Variants of ideographs, and of those few letters and signs that have standardized ones.
        '\u{fe00}'..='\u{fe0d}' => previous.is_some_and(has_variants),
        '\u{e0100}'..='\u{e01ef}' => previous.is_some_and(UnifiedIdeograph::for_char),
        '\u{180b}'..='\u{180f}' => previous.is_some_and(|c| Script::for_char(c) == Script::Mongolian && !is_hidden(c)),
        _ => false,
    }
}

/// Of ASCII, only digits, `#` and `*` are emoji, and only as keycaps.
fn has_emoji_style(c: char, after: &[char]) -> bool {
    Emoji::for_char(c) && (!c.is_ascii() || after.first() == Some(&'\u{20e3}'))
}

/// An emoji on both sides (<https://unicode.org/reports/tr51/#Emoji_ZWJ_Sequences>).
fn joins_emoji(before: &[char], after: &[char]) -> bool {
    let mut left = before.iter().rev().skip_while(|c| **c == EMOJI_STYLE || EmojiModifier::for_char(**c));
    left.next().is_some_and(|c| ExtendedPictographic::for_char(*c))
        && after.first().is_some_and(|c| ExtendedPictographic::for_char(*c))
}

/// A letter without its vowel on the left, or on the right as in Bengali (A2 and B of UAX #31, section 2.3.1
/// <https://unicode.org/reports/tr31/#Layout_and_Format_Control_Characters>).
fn is_in_conjunct(before: &[char], after: &[char]) -> bool {
    let is_virama = |c: &char| canonical_combining_class(*c) == 9;
    let after_virama = before.iter().rev().take_while(|c| is_combining_mark(**c)).any(is_virama);
    let before_virama = before.last().is_some_and(|c| c.is_alphabetic()) && after.first().is_some_and(is_virama);
    after_virama || before_virama
}

/// Letters on both sides, which would join (A1 of the same section).
fn parts_joining_letters(before: &[char], after: &[char]) -> bool {
    let letter = |c: &&char| JoiningType::for_char(**c) != JoiningType::Transparent;
    let left = before.iter().rev().find(letter).map(|c| JoiningType::for_char(*c));
    let right = after.iter().find(letter).map(|c| JoiningType::for_char(*c));
    matches!(left, Some(JoiningType::DualJoining | JoiningType::LeftJoining))
        && matches!(right, Some(JoiningType::DualJoining | JoiningType::RightJoining))
}

/// A letter that takes its joining form without a neighbour, as in abbreviations of the Hijri year. It would join a
/// letter that follows anyway.
fn shapes_arabic(previous: Option<char>, after: &[char]) -> bool {
    let is_dual = |c: char| JoiningType::for_char(c) == JoiningType::DualJoining;
    let next = after.iter().map(|c| JoiningType::for_char(*c)).find(|kind| *kind != JoiningType::Transparent);
    let joins = matches!(next, Some(JoiningType::DualJoining | JoiningType::RightJoining));
    previous.is_some_and(is_dual) && !joins
}

fn has_variants(c: char) -> bool {
    let script = Script::for_char(c);
    let letter = UnifiedIdeograph::for_char(c) || [Script::Han, Script::Myanmar, Script::PhagsPa].contains(&script);
    letter || GeneralCategory::for_char(c) == GeneralCategory::MathSymbol
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(fault: TextError, texts: &[&str]) {
        for text in texts {
            assert_eq!(check_line(text), Err(fault), "{text:?} {}", text.escape_unicode());
        }
    }

    #[track_caller]
    fn accepted(texts: &[&str]) {
        for text in texts {
            assert_eq!(check_line(text), Ok(()), "{text:?} {}", text.escape_unicode());
        }
    }

    #[test]
    fn direction_controls_are_refused() {
        let all = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').chain(['\u{200e}', '\u{200f}', '\u{61c}']);
        for control in all {
            refused(TextError::Invisible, &[&format!("Jazz{control}night"), &format!("ab{control}")]);
            assert_eq!(check_lines(&format!("a\n{control}b")), Err(TextError::Invisible));
        }
    }

    #[test]
    fn characters_that_nobody_sees_are_refused() {
        let hidden = [
            '\u{ad}',
            '\u{34f}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180e}',
            '\u{200b}',
            '\u{2060}',
            '\u{2063}',
            '\u{206a}',
            '\u{3164}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffc}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{fdd0}',
            '\u{ffff}',
            '\u{1bca0}',
        ];
        for c in hidden {
            refused(TextError::Invisible, &[&format!("a{c}b"), &format!("{c}ab"), &format!("ab{c}")]);
        }
    }

    #[test]
    fn control_characters_are_refused_and_lines_may_end_in_texts_alone() {
        refused(TextError::Control, &["a\0b", "a\nb", "a\tb", "a\u{7f}b", "a\u{85}b", "a\u{2028}b", "a\u{9b}b"]);
        assert_eq!(check_lines("one\r\n\ttwo\nthree"), Ok(()));
        assert_eq!(check_lines(""), Ok(()));
        assert_eq!(check_lines("a\u{1b}[31m"), Err(TextError::Control));
    }

    #[test]
    fn a_line_shows_something() {
        let blank = [
            "",
            " ",
            "\u{a0}\u{3000}",
            "\u{1680}",
            "\u{301}\u{302}",
            "\u{2800}\u{2800}",
            "\u{1d159}",
            "\u{20dd}",
            "\u{93e}",
        ];
        refused(TextError::Blank, &blank);
        accepted(&["!", "A", "\u{2800}⠓", "e\u{301}", "\u{1f389}", "5", "♥"]);
    }

    #[test]
    fn joiners_stay_where_they_change_what_is_seen() {
        accepted(&[
            "می\u{200c}خواهم",
            "نامه\u{200c}ای",
            "क्\u{200d}ष",
            "क्\u{200c}ष",
            "ශ්\u{200d}රී ලංකා",
            "র\u{200d}্যালি",
            "1445 ه\u{200d}",
        ]);
        refused(
            TextError::Invisible,
            &[
                "a\u{200d}b",
                "a\u{200c}b",
                "\u{200d}a",
                "a\u{200d}",
                "ا\u{200c}ب",
                "م\u{200d}حمد",
                "م\u{200d}\u{64e}حمد",
                "ه\u{200d}\u{200d}",
                "می\u{200c}",
                "क\u{200d}",
                "東\u{200c}京",
            ],
        );
    }

    #[test]
    fn emoji_are_accepted_whole_and_their_parts_are_refused_elsewhere() {
        accepted(&[
            "❤\u{fe0f}",
            "👩\u{200d}🚀",
            "👩🏽\u{200d}🚀",
            "👨\u{200d}👩\u{200d}👧\u{200d}👦",
            "🏳\u{fe0f}\u{200d}🌈",
            "🏴\u{200d}☠\u{fe0f}",
            "👁\u{fe0f}\u{200d}🗨\u{fe0f}",
            "❤\u{fe0f}\u{200d}🔥",
            "1\u{fe0f}\u{20e3}",
            "#\u{fe0f}\u{20e3}",
            "🇩🇪",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} Ceilidh",
            "☎\u{fe0e} 112",
            "葛\u{e0100}城",
            "≨\u{fe00}",
        ]);
        refused(
            TextError::Invisible,
            &[
                "a\u{fe0f}",
                "\u{fe0f}",
                "\u{fe00}",
                "\u{e0100}",
                "\u{180b}",
                "Gig 1\u{fe0f}",
                "#\u{fe0e}1",
                "❤\u{fe0f}\u{fe0f}",
                "a\u{fe00}",
                "a\u{e0100}",
                "🎉\u{e0100}",
                "🎉\u{200d}",
                "🎉\u{200d}a",
                "a\u{200d}🎉",
                "🏴\u{e0068}\u{e0065}\u{e006c}\u{e006c}\u{e006f}\u{e007f}",
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}",
                "🏳\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
                "x\u{e0067}\u{e007f}",
            ],
        );
    }

    #[test]
    fn names_in_every_script_are_accepted() {
        accepted(&[
            "Zoë O’Brien-Nuñez",
            "Nguyễn Thị Minh Khai",
            "محمد",
            "יוסף",
            "ไม้เอก",
            "한국",
            "東京",
            "Ἀθήνα",
            "अमिताभ",
            "இளையராஜா",
            "\u{600}12",
            "\u{6dd}١",
            "ᠮᠣᠩᠭᠣᠯ\u{180b}",
            "မြန်မာ",
            "\u{1f9d1}\u{1f3fd}",
        ]);
    }
}
