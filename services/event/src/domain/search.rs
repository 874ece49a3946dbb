//! Search as you type: the folded words of an event and of a query, and the filter of a list.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use contracts::text;

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
    /// Each must be the beginning of one of the event's words. An empty list, as from a query of punctuation, finds no
    /// event.
    pub words: Option<Vec<String>>,
    /// Events that end after this instant: an event is an interval.
    pub from: Option<DateTime<Utc>>,
    /// Events that have begun by this instant.
    pub to: Option<DateTime<Utc>>,
    /// Events of this category, ignoring case.
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

/// The words of a query; `None` if the query is empty.
pub fn query_words(query: &str) -> Option<Vec<String>> {
    let asked = !query.trim().is_empty();
    asked.then(|| distinct_words([query], MAX_QUERY_WORDS))
}

/// The key by which categories are compared.
pub fn category_key(category: &str) -> String {
    text::fold(category)
}

fn distinct_words<'a>(texts: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let words = texts.into_iter().flat_map(text::words).map(|word| word.chars().take(MAX_LETTERS).collect::<String>());
    words.filter(|word| seen.insert(word.clone())).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(query: &str) -> Vec<String> {
        query_words(query).expect("something is asked for")
    }

    #[test]
    fn accents_case_and_punctuation_do_not_matter() {
        assert_eq!(words("Café-Konzert, MÜNCHEN №5"), ["cafe", "konzert", "munchen", "no5"]);
    }

    #[test]
    fn a_word_counts_once_and_a_query_has_few() {
        assert_eq!(words("a a b c d e f g h i j").len(), MAX_QUERY_WORDS);
    }

    #[test]
    fn blanks_ask_for_nothing_and_punctuation_for_what_no_event_has() {
        assert_eq!((query_words(""), query_words(" \u{3000}")), (None, None));
        for query in ["(", " -- !? ", "\u{1f389}", "\u{301}"] {
            assert_eq!(words(query), [""; 0], "{query}");
        }
    }
}
