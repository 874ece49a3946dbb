//! stripe-mock as a child process on a loopback port of its own.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use booking_service::clients::gateway::stripe::Stripe;
use contracts::payment::Provider;
use platform::{client, config::Secret};
use reqwest::StatusCode;

const API_KEY: &str = "sk_test_ours";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running stripe-mock; dropping it ends it.
pub(crate) struct StripeMock {
    url: String,
    child: Child,
    // It prints a line or two per request, and ends when nobody could read them.
    stdout: BufReader<ChildStdout>,
}

impl StripeMock {
    pub(crate) fn start() -> Self {
        let program = locate();
        let mut child = Command::new(&program)
            // `-http` alone means a fixed port on every address. Beside `-http-addr` there is always HTTPS as well;
            // nobody calls it.
            .args(["-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut mock = Self { url: String::new(), child, stdout };
        mock.url = format!("http://{}", mock.read_address());
        mock
    }

    /// The adapter, as the service makes it.
    pub(crate) fn gateway(&self) -> Stripe {
        self.gateway_with_key(API_KEY)
    }

    /// The same with another API key.
    pub(crate) fn gateway_with_key(&self, key: &str) -> Stripe {
        let (http, secret) = (client::build(TIMEOUT), Secret::new("whsec_ours"));
        Stripe::new(http, &self.url, Provider::Stripe, Secret::new(key), secret, TIMEOUT)
    }

    /// Posts a form without the adapter.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> (StatusCode, String) {
        let request = client::build(TIMEOUT).post(format!("{}/v1/{path}", self.url)).bearer_auth(API_KEY).form(form);
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    fn read_address(&mut self) -> String {
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).unwrap();
            assert!(length > 0, "stripe-mock ended before it listened; it printed:\n{printed}");
            if let Some(address) = line.strip_prefix("Listening for HTTP at address: ") {
                return address.trim().to_owned();
            }
            printed += &line;
        }
    }
}

impl Drop for StripeMock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `STRIPE_MOCK`, or where `.ci/install` puts it, or PATH.
fn locate() -> PathBuf {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(file) = variable("STRIPE_MOCK") {
        return file.into();
    }
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| env::home_dir().expect("HOME is set").join(".cache"));
    let installed = cache.join("eventplatform/tools/bin/stripe-mock");
    let path = variable("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("stripe-mock"));
    let mut places = std::iter::once(installed.clone()).chain(on_path);
    places.find(|file| file.is_file()).unwrap_or_else(|| {
        panic!(
            "stripe-mock is neither at {} nor on PATH. `.ci/install`, with which `make test` begins, builds it where \
             Go is installed; or set STRIPE_MOCK to one",
            installed.display()
        )
    })
}
