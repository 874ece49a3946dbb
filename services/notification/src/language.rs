//! The language in which somebody reads.

use axum::http::{HeaderMap, header};
use contracts::identity::Language;
use platform::auth::Identity;

/// The account's language; without one, what the browser asks for; English otherwise.
pub(crate) fn language_of(reader: &Identity, headers: &HeaderMap) -> Language {
    reader.language.or_else(|| accepted(headers)).unwrap_or(Language::En)
}

/// The platform's language that `Accept-Language` prefers (RFC 9110, section 12.5.4).
fn accepted(headers: &HeaderMap) -> Option<Language> {
    let wishes = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let mut best: Option<(Language, f32)> = None;
    for wish in wishes.split(',') {
        let (tag, weight) = wish.split_once(';').unwrap_or((wish, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()).unwrap_or(0.0);
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        let Some(language) = Language::parse(&primary) else { continue };
        if weight > best.map_or(0.0, |(_, most)| most) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_known_language_with_the_greatest_weight_counts() {
        for (wishes, language) in [
            ("de", Some(Language::De)),
            ("de-AT,de;q=0.9,en;q=0.8", Some(Language::De)),
            ("fr-FR, en;q=0.3, DE;q=0.4", Some(Language::De)),
            ("de;q=0, en", Some(Language::En)),
            ("fr, *;q=0.5", None),
            ("de;q=zero", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(wishes))]);

            assert_eq!(accepted(&headers), language, "{wishes}");
        }
    }
}
