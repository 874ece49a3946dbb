//! Texts of others, such as errors of drivers and webhooks. Addresses, times and ids in them differ from one to the next.

/// The part of `previous` that says the same as `text`: with the same words, but for those that change.
pub(super) fn same_part<'a>(text: &str, previous: &'a str) -> Option<&'a str> {
    let (wanted, present) = (words(text), words(previous));
    if wanted.is_empty() {
        return None;
    }
    let is_same = |part: &&[(usize, &str)]| {
        part.iter().zip(&wanted).all(|((_, old), (_, new))| old == new || (changes(old) && changes(new)))
    };
    let part = present.windows(wanted.len()).find(is_same)?;
    let ((start, _), (last, word)) = (part.first()?, part.last()?);
    Some(&previous[*start..last + word.len()])
}

/// The words of a text, and every character between them, each with its place.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        match found.last_mut() {
            Some((start, word)) if is_of_word(character) && word.ends_with(is_of_word) => *word = &text[*start..end],
            _ => found.push((at, &text[at..end])),
        }
    }
    found
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || "-_.:".contains(character)
}

/// The shortest hash or id. Shorter words of hexadecimal digits may be names, such as db1.
const MIN_ID: usize = 8;

/// Whether a word is a number, a time, a duration, a numeric address or an id.
fn changes(word: &str) -> bool {
    let is_digit = |character: char| character.is_ascii_digit();
    let is_number = word.starts_with(is_digit)
        && word.chars().all(|character| is_digit(character) || ".:-TZhmnsuµ".contains(character));
    let is_id = word.len() >= MIN_ID && word.chars().all(|character| character.is_ascii_hexdigit() || character == '-');
    is_number || (is_id && word.contains(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_in_addresses_times_and_ids_say_the_same() {
        let previous =
            "postgres: no answer from 10.0.0.1:41234 after 1.02s (id 3b5c0f1e-77aa-4d22-9c01-5d8f7a6b1c2d); rest";
        let text = "no answer from 10.0.0.17:5 after 980ms (id 0a0b0c0d-0000-4d22-9c01-ffffffffff10)";

        let said = "no answer from 10.0.0.1:41234 after 1.02s (id 3b5c0f1e-77aa-4d22-9c01-5d8f7a6b1c2d)";
        assert_eq!(same_part(text, previous), Some(said));
        assert_eq!(
            same_part("at 2026-11-28T17:00:01Z", "at 2026-11-28T16:59:59.5Z"),
            Some("at 2026-11-28T16:59:59.5Z")
        );
    }

    #[test]
    fn texts_that_differ_in_a_name_do_not() {
        assert_eq!(same_part("Secret db2 is gone", "Secret db1 is gone"), None);
        assert_eq!(same_part("no answer from b:5432", "no answer from a:5432"), None);
        assert_eq!(same_part("longer than that", "longer"), None);
        assert_eq!(same_part("", "anything"), None);
    }
}
