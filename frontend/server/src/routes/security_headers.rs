//! The security headers of every response.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use contracts::payment::Provider;

const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Allows only the sources named here, and no inline scripts or styles. Stripe's card form is a frame from Stripe's host
/// (<https://docs.stripe.com/security/guide#content-security-policy>).
pub fn content_security_policy(provider: Provider) -> String {
    let (scripts, connections, frames) = match provider {
        Provider::Mock => ("", "", ""),
        Provider::Stripe => (
            " https://js.stripe.com",
            " https://api.stripe.com",
            "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com; ",
        ),
    };
    format!(
        "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; img-src 'self' https: data:; \
         connect-src 'self'{connections}; {frames}form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}

pub fn security_headers(provider: Provider) -> HeaderMap {
    let policy = HeaderValue::try_from(content_security_policy(provider)).expect("the policy is visible ASCII");
    let fixed = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    fixed.into_iter().chain([(header::CONTENT_SECURITY_POLICY, policy)]).collect()
}

pub fn add_headers(mut response: Response, headers: HeaderMap) -> Response {
    response.headers_mut().extend(headers);
    response
}
