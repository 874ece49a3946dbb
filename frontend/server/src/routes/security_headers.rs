//! The security headers of every response.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use contracts::payment::Provider;

/// The rest of the permissions, which no page has.
const NO_PERMISSIONS: &str = "geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
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

/// Marks the response of a page that may use the camera.
#[derive(Clone, Copy)]
struct Camera;

/// The same response, for a page that may use the camera.
pub fn with_camera(mut response: Response) -> Response {
    response.extensions_mut().insert(Camera);
    response
}

pub fn add_headers(mut response: Response, headers: HeaderMap) -> Response {
    let camera = if response.extensions().get::<Camera>().is_some() { "(self)" } else { "()" };
    let permissions = HeaderValue::try_from(format!("camera={camera}, {NO_PERMISSIONS}")).expect("visible ASCII");
    response.headers_mut().extend(headers);
    response.headers_mut().insert(HeaderName::from_static("permissions-policy"), permissions);
    response
}
