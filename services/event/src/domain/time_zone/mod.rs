//! Names of time zones. chrono-tz decides which zones there are, and CLDR which name of a zone is canonical:
//! `Asia/Kolkata`, not `Asia/Calcutta`. `Europe/Oslo` and `Europe/Berlin` stay two zones, which the links of tzdata
//! would merge.

mod aliases;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use chrono_tz::TZ_VARIANTS;

use self::aliases::ALIASES;

/// The canonical name of every zone, by each of its names in lower case.
static CANONICAL: LazyLock<HashMap<String, &str>> = LazyLock::new(|| {
    let aliases: HashMap<_, _> = ALIASES.into();
    let names = TZ_VARIANTS.iter().map(|zone| zone.name());
    names.map(|name| (name.to_ascii_lowercase(), aliases.get(name).copied().unwrap_or(name))).collect()
});

/// The canonical name of the zone that `name` stands for, ignoring case; `None` if there is no such zone.
pub fn canonical_zone(name: &str) -> Option<&'static str> {
    CANONICAL.get(&name.to_ascii_lowercase()).copied()
}

/// The zones that an event can be in.
#[derive(Clone, Debug, Default)]
pub struct ZoneNames {
    /// The canonical names: those of places, and UTC.
    pub names: BTreeSet<&'static str>,
    /// Other accepted names, each with the canonical name.
    pub aliases: BTreeMap<&'static str, &'static str>,
}

impl ZoneNames {
    pub fn all() -> Self {
        let mut all = Self::default();
        for name in TZ_VARIANTS.iter().map(|zone| zone.name()) {
            let Some(canonical) = canonical_zone(name) else { continue };
            if canonical == "UTC" || canonical.contains('/') && !canonical.starts_with("Etc/") {
                all.names.insert(canonical);
            }
            if name != canonical {
                all.aliases.insert(name, canonical);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_and_other_cases_become_the_canonical_name() {
        for (name, canonical) in [
            ("Asia/Calcutta", "Asia/Kolkata"),
            ("Asia/Saigon", "Asia/Ho_Chi_Minh"),
            ("Europe/Kiev", "Europe/Kyiv"),
            ("America/Buenos_Aires", "America/Argentina/Buenos_Aires"),
            ("US/Pacific", "America/Los_Angeles"),
            ("EST5EDT", "America/New_York"),
            ("America/Godthab", "America/Nuuk"),
            ("Asia/Rangoon", "Asia/Yangon"),
            ("europe/berlin", "Europe/Berlin"),
            ("Europe/Oslo", "Europe/Oslo"),
            ("Asia/Kathmandu", "Asia/Kathmandu"),
            ("Etc/UTC", "UTC"),
            ("GMT", "UTC"),
            ("UTC", "UTC"),
        ] {
            assert_eq!(canonical_zone(name), Some(canonical), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_has_no_zone() {
        for name in ["", "Europe/Atlantis", "Etc/Unknown", "+02:00", "Europe/Berlin ", "Mars/Olympus_Mons"] {
            assert_eq!(canonical_zone(name), None, "{name}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_every_pair_shows_the_same_clock() {
        let zone = |name: &str| name.parse::<chrono_tz::Tz>().unwrap_or_else(|_| panic!("{name} is known"));

        assert!(ALIASES.is_sorted());
        for (alias, canonical) in ALIASES {
            for day in ["2026-01-15T12:00:00", "2026-07-15T12:00:00"] {
                let at: chrono::NaiveDateTime = day.parse().unwrap();
                let local = |name| at.and_utc().with_timezone(&zone(name)).naive_local();
                assert_eq!(local(alias), local(canonical), "{alias} and {canonical}");
            }
        }
    }

    #[test]
    fn every_canonical_name_is_its_own_canonical_name() {
        let ZoneNames { names, aliases } = ZoneNames::all();

        assert!(names.len() > 400, "{}", names.len());
        for canonical in TZ_VARIANTS.iter().filter_map(|zone| canonical_zone(zone.name())) {
            assert_eq!(canonical_zone(canonical), Some(canonical));
        }
        assert_eq!(aliases["Asia/Calcutta"], "Asia/Kolkata");
        assert!(names.iter().all(|name| !aliases.contains_key(name)));
    }
}
