//! Browser and operating system from a `User-Agent`, by which users recognize their sessions.

/// Characters of a `User-Agent` that are stored.
pub const MAX_USER_AGENT_CHARS: usize = 300;

/// In this order, because browsers imitate each other: one that also names another comes first.
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

/// The browser, or otherwise the program before the first slash or blank.
pub fn browser(user_agent: &str) -> Option<String> {
    find_name(&BROWSERS, user_agent).map(str::to_owned).or_else(|| {
        let program = user_agent.split(['/', ' ']).next().unwrap_or_default();
        (!program.is_empty() && program != "Mozilla").then(|| program.chars().take(40).collect())
    })
}

pub fn operating_system(user_agent: &str) -> Option<&'static str> {
    find_name(&SYSTEMS, user_agent)
}

fn find_name(names: &[(&str, &'static str)], user_agent: &str) -> Option<&'static str> {
    names.iter().find(|(token, _)| user_agent.contains(token)).map(|(_, name)| *name)
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
