//! `stack api`: the page about the API, printed.

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use eventplatform_tests::api::Api;
use eventplatform_tests::api_page;
use eventplatform_tests::stack::{Options, Stack};

use crate::job::Signals;

/// Prints docs/api.md as the services of this checkout describe themselves, on a throwaway platform.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) async fn run(Arguments {}: Arguments) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    // Within `stack servers`, take its servers.
    let own_servers = env::var_os("TEST_POSTGRES_URL").is_none();
    let printed = async {
        let platform = Stack::start(Options { own_servers, ..Options::default() }).await?;
        let page = api_page::page(&Api::new(platform.origin.as_str())).await;
        platform.stop().await?;
        print!("{}", page?);
        Ok(ExitCode::SUCCESS)
    };
    tokio::select! {
        code = printed => code,
        signal = signals.next() => Ok(Signals::exit_code(signal)),
    }
}
