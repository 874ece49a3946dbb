//! Search as you type: the words of an event and of a query, normalized alike; the filter of a list.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::Details;

/// Words kept of an event.
const MAX_WORDS: usize = 100;
/// Words looked at in a query; the rest is ignored.
const MAX_QUERY_WORDS: usize = 8;
/// Letters kept of a word, in events and queries alike.
const MAX_LETTERS: usize = 40;

/// Which events a list shows.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct EventFilter {
    /// Each is the beginning of one of the event's words.
    pub words: Vec<String>,
    /// Those that start then or later.
    pub from: Option<DateTime<Utc>>,
    /// Those that start earlier.
    pub to: Option<DateTime<Utc>>,
    /// Those of that category.
    pub category: Option<String>,
    /// Those with seats available.
    pub has_seats: bool,
    /// Those of that organizer.
    pub organizer_id: Option<i32>,
    /// Drafts, cancelled and past ones too: for their organizer and admins.
    pub everything: bool,
}

/// The position of an event in a list, which is sorted by start and then by id.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// The event's start.
    pub starts_at: DateTime<Utc>,
    /// The event's id.
    pub id: String,
}

/// The words that an event is found by: of the title first, then venue, category and description.
pub fn words_of(details: &Details) -> Vec<String> {
    let category = details.category.as_deref().unwrap_or_default();
    distinct_words([&*details.title, &*details.venue, category, &*details.description], MAX_WORDS)
}

/// The words of a query.
pub fn query_words(query: &str) -> Vec<String> {
    distinct_words([query], MAX_QUERY_WORDS)
}

fn distinct_words<'a>(texts: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let words = texts.into_iter().flat_map(normalized_words).filter(|word| seen.insert(word.clone()));
    words.take(most).collect()
}

/// Lower-case, without accents (NFKD without its marks), split at everything that is neither letter nor digit.
fn normalized_words(text: &str) -> Vec<String> {
    let plain: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
    plain
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(MAX_LETTERS).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_case_and_punctuation_do_not_matter() {
        assert_eq!(query_words("Café-Konzert, MÜNCHEN №5"), ["cafe", "konzert", "munchen", "no5"]);
    }

    #[test]
    fn a_word_counts_once_and_a_query_has_few() {
        assert_eq!(query_words("a a b c d e f g h i j").len(), MAX_QUERY_WORDS);
    }

    #[test]
    fn a_query_of_punctuation_has_no_words() {
        assert!(query_words(" -- !? ").is_empty());
    }
}
