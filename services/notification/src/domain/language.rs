//! The language that a browser asks for.

use contracts::identity::Language;

/// The platform's language with the greatest weight in the header `Accept-Language` (RFC 9110, section 12.5.4).
pub fn preferred_language(accept_language: &str) -> Option<Language> {
    let mut best: Option<(Language, f32)> = None;
    for range in accept_language.split(',') {
        let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
        let weight = weight.trim().strip_prefix(['q', 'Q']).and_then(|weight| weight.strip_prefix('=')?.parse().ok());
        let weight: f32 = weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        let Some(language) = Language::parse(&primary) else { continue };
        if weight > best.map_or(0.0, |(_, greatest)| greatest) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_language_with_the_greatest_weight_is_preferred() {
        for (accept_language, language) in [
            ("de", Some(Language::De)),
            ("de-AT,de;q=0.9,en;q=0.8", Some(Language::De)),
            ("fr-FR, en;q=0.3, DE;q=0.4", Some(Language::De)),
            ("de;q=0, en", Some(Language::En)),
            ("fr, *;q=0.5", None),
            ("de;Q=0.5,en;q=0.4", Some(Language::De)),
            ("de_DE, en-GB-oxendict;q=0.1", Some(Language::En)),
            ("de;q=zero", None),
            ("de;q=inf, en;q=1.0", Some(Language::En)),
            ("de;q=NaN", None),
            ("de;q=-1;q=1", None),
            (",;,;q=,=", None),
            ("", None),
        ] {
            assert_eq!(preferred_language(accept_language), language, "{accept_language}");
        }
    }
}
