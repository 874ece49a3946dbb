//! The operator, crashing after every single write: a program for the cluster suite, never part of an image that ships.
//!
//! A parent starts the operator again and again; the child aborts as soon as the API server has taken a write.

use std::{
    env,
    future::Future,
    pin::Pin,
    process::{Command, abort},
    task::{Context as TaskContext, Poll},
};

use anyhow::Context;
use clap::Parser;
use eventplatform_operator::{admin::Health, run::control, settings::Settings};
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use tower::{Service, layer::layer_fn};

/// Tells the child from its parent.
const CHILD: &str = "CRASHING_CHILD";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

fn main() -> anyhow::Result<()> {
    if env::var_os(CHILD).is_some() {
        return operate(Arguments::parse().settings);
    }
    for crash in 1.. {
        let ended = Command::new(env::current_exe()?).args(env::args_os().skip(1)).env(CHILD, "1").status()?;
        println!("crash {crash}: {ended}");
    }
    Ok(())
}

#[tokio::main]
async fn operate(settings: Settings) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let config = kube::Config::infer().await.context("no way to the API server")?;
    let client = ClientBuilder::try_from(config)?.with_layer(&layer_fn(Crashing)).build();
    control(client, settings, Health::default()).await;
    anyhow::bail!("the controller ended")
}

/// Ends the process when a write was answered well, before anybody hears of the answer.
#[derive(Clone)]
struct Crashing<S>(S);

impl<S, B> Service<Request<Body>> for Crashing<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_write = request.method() != Method::GET;
        let what = format!("{} {}", request.method(), request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if is_write && answer.status().is_success() {
                println!("written: {what}");
                abort();
            }
            Ok(answer)
        })
    }
}
