//! What `stack dev` and `stack demo` print: steps with their times, the address and the accounts, then the programs' logs.

use std::fmt::{Display, Write};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use eventplatform_tests::fleet::Sinks;

use crate::demo::Account;

const WIDTH: usize = "notification-service".len();
const COLORS: [u8; 6] = [36, 33, 32, 35, 34, 96];

/// Prints for one run.
pub(crate) struct Console {
    began: Instant,
    color: bool,
    following: Arc<AtomicBool>,
}

impl Console {
    pub(crate) fn new() -> Self {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { began: Instant::now(), color, following: Arc::default() }
    }

    /// Awaits a step of the start and prints how long it took.
    pub(crate) async fn step<T>(&self, what: impl Display, step: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let result = step.await;
        if result.is_ok() {
            self.note(&format!("{what} ({:.1} s)", began.elapsed().as_secs_f32()));
        }
        result
    }

    /// A line of its own.
    pub(crate) fn note(&self, text: &str) {
        println!("{} {text}", self.paint(1, &format!("[{:6.1} s]", self.began.elapsed().as_secs_f32())));
    }

    /// A line that must not be overlooked.
    pub(crate) fn warn(&self, text: &str) {
        println!("{}", self.paint(31, &format!("! {text}")));
    }

    /// Prints the address and the accounts.
    pub(crate) fn show(&self, origin: &str, accounts: &[Account]) {
        let rule = "─".repeat(72);
        let mut text = format!("\n{rule}\n  The platform runs at  {}\n\n", self.paint(1, origin));
        for account in accounts {
            let _ = writeln!(text, "  {:<10} {:<26} password  {}", account.role, account.email, account.password);
        }
        println!("{text}{rule}");
    }

    /// From now on, prints the programs' logs too.
    pub(crate) fn follow(&self, log_dir: &Path) {
        println!("  Ctrl-C stops everything. Logs follow, and are kept in {}\n", log_dir.display());
        self.following.store(true, Ordering::Relaxed);
    }

    /// Sinks that print a program's lines behind its name, once [`Console::follow`] was called.
    pub(crate) fn sinks(&self) -> Sinks {
        let (following, color) = (Arc::clone(&self.following), self.color);
        Arc::new(move |name| {
            let following = Arc::clone(&following);
            let hue = COLORS[name.bytes().map(usize::from).sum::<usize>() % COLORS.len()];
            let prefix = paint(color, hue, &format!("{name:WIDTH$} |"));
            Box::new(move |line| {
                if following.load(Ordering::Relaxed) {
                    println!("{prefix} {line}");
                }
            })
        })
    }

    fn paint(&self, code: u8, text: &str) -> String {
        paint(self.color, code, text)
    }
}

fn paint(color: bool, code: u8, text: &str) -> String {
    if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
