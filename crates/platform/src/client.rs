//! Outgoing HTTP with deadlines; carries the request id and trace context of the present task.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, RequestBuilder};

use crate::trace::{REQUEST_ID, RequestContext, TRACEPARENT};

/// A client that waits at most `timeout` for a whole answer. Follows no redirects.
pub fn build(timeout: Duration) -> Client {
    builder(timeout).build().expect("the settings are constants that fit together")
}

/// The settings of [`build`], to be added to.
pub fn builder(timeout: Duration) -> ClientBuilder {
    // An error means that a provider is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(2)))
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("eventplatform/", env!("CARGO_PKG_VERSION")))
}

/// Adds the present task's request id and trace context to an outgoing request.
pub trait WithContext {
    /// The request with `x-request-id` and `traceparent`.
    #[must_use]
    fn with_context(self) -> Self;
}

impl WithContext for RequestBuilder {
    fn with_context(self) -> Self {
        match RequestContext::current() {
            Some(context) => {
                self.header(REQUEST_ID, &context.request_id).header(TRACEPARENT, context.trace.child().to_string())
            }
            None => self,
        }
    }
}
