//! Reads from a `User-Agent` what people need to recognize their sessions: browser and operating system.

/// The longest `User-Agent` that is kept, in characters.
pub const MAX_USER_AGENT: usize = 300;

/// Browsers imitate each other, so the order matters: one that also names another comes before it.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

/// The browser that a `User-Agent` names, or the program before its first slash.
pub fn browser(user_agent: &str) -> Option<String> {
    let known = named(&BROWSERS, user_agent).map(str::to_owned);
    known.or_else(|| {
        let program = user_agent.split(['/', ' ']).next().unwrap_or_default();
        let fit = !program.is_empty() && program != "Mozilla";
        fit.then(|| program.chars().take(40).collect())
    })
}

/// The operating system that a `User-Agent` names.
pub fn operating_system(user_agent: &str) -> Option<&'static str> {
    named(&SYSTEMS, user_agent)
}

fn named(names: &[(&str, &'static str)], user_agent: &str) -> Option<&'static str> {
    names.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_devices_are_recognized() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0",
                (Some("Edge"), Some("Windows")),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                (Some("Safari"), Some("iOS")),
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
                (Some("Firefox"), Some("Linux")),
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
                (Some("Chrome"), Some("Android")),
            ),
            ("curl/8.5.0", (Some("curl"), None)),
            ("Mozilla/5.0", (None, None)),
            ("", (None, None)),
        ] {
            assert_eq!((browser(user_agent).as_deref(), operating_system(user_agent)), expected, "{user_agent}");
        }
    }
}
