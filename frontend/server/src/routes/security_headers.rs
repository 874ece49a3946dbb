//! What every answer tells the browser to refuse.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};

use crate::PaymentProvider;

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

/// Nothing runs, loads or is framed unless it is named here; no inline script or style is. Stripe's card form comes in
/// a frame from Stripe's own host (<https://docs.stripe.com/security/guide#content-security-policy>).
pub fn content_security_policy(provider: PaymentProvider) -> String {
    let (scripts, calls, frames) = match provider {
        PaymentProvider::Mock => ("", "", ""),
        PaymentProvider::Stripe => (
            " https://js.stripe.com",
            " https://api.stripe.com",
            "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com; ",
        ),
    };
    format!(
        "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; img-src 'self' https: data:; \
         connect-src 'self'{calls}; {frames}form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// The security headers of a site whose payments go to `provider`.
pub fn security_headers(provider: PaymentProvider) -> HeaderMap {
    let policy = HeaderValue::try_from(content_security_policy(provider)).expect("the policy is visible ASCII");
    let fixed = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    fixed.into_iter().chain([(header::CONTENT_SECURITY_POLICY, policy)]).collect()
}

/// Adds the security headers.
pub fn harden(mut response: Response, headers: HeaderMap) -> Response {
    response.headers_mut().extend(headers);
    response
}
