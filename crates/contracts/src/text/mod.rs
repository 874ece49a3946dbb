//! Text that people write: which characters it may have, how it is compared, and how it is quoted in a sentence.
//!
//! This is shared because services have to agree: user-service accepts the names that booking-service searches, and
//! event-service the titles that notification-service quotes.

mod characters;
mod fold;

pub use self::{
    characters::{TextError, check_line, check_lines, is_hidden},
    fold::{FOLD_VERSION, fold, words},
};

/// `text` inside a first-strong isolate (U+2068 … U+2069), so that its direction changes nothing around it
/// (<https://unicode.org/reports/tr9/#Explicit_Directional_Isolates>). Direction controls in it are removed: a
/// stray one could end the isolate early.
pub fn isolate(text: &str) -> String {
    let inner: String = text.chars().filter(|c| !is_bidi_control(*c)).collect();
    format!("\u{2068}{inner}\u{2069}")
}

/// Whether a character only sets the direction of text (Unicode's property Bidi_Control).
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_isolate() {
        assert_eq!(isolate("مرحبا"), "\u{2068}مرحبا\u{2069}");
        assert_eq!(isolate("a\u{2069}\u{202e}b"), "\u{2068}ab\u{2069}");
    }
}
