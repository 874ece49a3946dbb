//! Search as you type: the folded words of an event and of a query, and the filter of a list.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use contracts::text;

use super::details::Details;

/// Words kept of an event.
const MAX_WORDS: usize = 100;
/// Words used of a query; the rest is ignored.
const MAX_QUERY_WORDS: usize = 8;
/// Characters kept of a word, in events and queries alike.
const MAX_WORD_LENGTH: usize = 40;

/// Which events a list shows.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct EventFilter {
    /// Each must be a prefix of one of the event's words. An empty list, as from a query of punctuation, matches no
    /// event.
    pub words: Option<Vec<String>>,
    /// Events that end after this instant: an event is an interval.
    pub from: Option<DateTime<Utc>>,
    /// Events that start before this instant.
    pub to: Option<DateTime<Utc>>,
    /// Events of this category, ignoring case.
    pub category: Option<String>,
    /// Only events with seats available.
    pub has_seats: bool,
    pub organizer_id: Option<i32>,
    /// Drafts, cancelled and past events too: for their organizer and admins.
    pub include_hidden: bool,
}

/// The position of an event in a list, which is sorted by start and then by id.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    pub starts_at: DateTime<Utc>,
    pub id: String,
}

/// The words that an event is found by: of the title first, then venue, category and description.
pub fn event_words(details: &Details) -> Vec<String> {
    let category = details.category.as_deref().unwrap_or_default();
    distinct_words([&*details.title, &*details.venue, category, &*details.description], MAX_WORDS)
}

/// The words of a query; `None` if the query is empty.
pub fn query_words(query: &str) -> Option<Vec<String>> {
    (!query.trim().is_empty()).then(|| distinct_words([query], MAX_QUERY_WORDS))
}

/// The key by which categories are compared.
pub fn category_key(category: &str) -> String {
    text::fold(category)
}

fn distinct_words<'a>(texts: impl IntoIterator<Item = &'a str>, max: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let words =
        texts.into_iter().flat_map(text::words).map(|word| word.chars().take(MAX_WORD_LENGTH).collect::<String>());
    words.filter(|word| seen.insert(word.clone())).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(query: &str) -> Vec<String> {
        query_words(query).expect("the query is not empty")
    }

    #[test]
    fn accents_case_and_punctuation_do_not_matter() {
        assert_eq!(words("Café-Konzert, MÜNCHEN №5"), ["cafe", "konzert", "munchen", "no5"]);
    }

    #[test]
    fn words_of_a_query_are_distinct_and_limited() {
        assert_eq!(words("a a b c d e f g h i j").len(), MAX_QUERY_WORDS);
    }

    #[test]
    fn a_blank_query_has_no_filter_and_punctuation_matches_nothing() {
        assert_eq!((query_words(""), query_words(" \u{3000}")), (None, None));
        for query in ["(", " -- !? ", "\u{1f389}", "\u{301}"] {
            assert_eq!(words(query), [""; 0], "{query}");
        }
    }
}
