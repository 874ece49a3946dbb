//! The receiver of webhooks, which is booking-service in a platform.

use std::time::Duration;

use anyhow::ensure;
use hmac::{Hmac, KeyInit, Mac};
use platform::{Clock, client, config::Secret};
use reqwest::{Client, header::CONTENT_TYPE};
use sha2::Sha256;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Clone)]
pub struct WebhookReceiver {
    client: Client,
    url: Url,
    secret: Secret,
    clock: Clock,
}

impl WebhookReceiver {
    pub fn new(url: Url, secret: Secret, clock: Clock) -> Self {
        Self { client: client::build(TIMEOUT), url, secret, clock }
    }

    /// Posts a body with its signature. Fails on anything but 2xx.
    pub async fn send(&self, body: &str) -> anyhow::Result<()> {
        self.send_signed_with(self.secret.expose(), body).await
    }

    /// [`WebhookReceiver::send`], signed with another secret.
    pub async fn send_signed_with(&self, secret: &str, body: &str) -> anyhow::Result<()> {
        let response = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header("Stripe-Signature", signature(secret, self.clock.now().timestamp(), body))
            .body(body.to_owned())
            .send()
            .await?;
        ensure!(response.status().is_success(), "the receiver answered {}", response.status());
        Ok(())
    }
}

/// Stripe's scheme v1: HMAC-SHA256 over the time and the body (<https://docs.stripe.com/webhooks/signature>).
fn signature(secret: &str, timestamp: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{timestamp}.{body}").as_bytes());
    format!("t={timestamp},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_follows_stripes_scheme() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
        let expected = "t=1700000000,v1=38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789";

        assert_eq!(signature("whsec_test", 1_700_000_000, r#"{"a":1}"#), expected);
    }
}
