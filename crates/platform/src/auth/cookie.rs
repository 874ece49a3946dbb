//! Session cookies: HttpOnly, SameSite=Strict, named so that two platforms on one host name do not mix.

use axum::http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use url::Url;

use crate::{ApiError, ApiResult};

/// Names and attributes of the session cookies of one platform.
///
/// Browsers keep cookies by host name alone, so the port of the public URL goes into the names.
#[derive(Clone, Debug)]
pub struct Cookies {
    access: String,
    refresh: String,
    secure: bool,
}

/// The path that the refresh cookie is sent to, and no other.
const REFRESH_PATH: &str = "/users";

impl Cookies {
    /// The cookies of the platform at `public_url`.
    pub fn new(public_url: &Url) -> Self {
        let secure = public_url.scheme() == "https";
        let port = public_url.port_or_known_default().unwrap_or(80);
        let prefix = if secure { "__Secure-" } else { "" };
        Self { access: format!("{prefix}evp{port}_access"), refresh: format!("{prefix}evp{port}_refresh"), secure }
    }

    /// The access token that the request's cookies carry.
    pub fn access_token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        find(headers, &self.access)
    }

    /// The refresh token that the request's cookies carry.
    pub fn refresh_token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        find(headers, &self.refresh)
    }

    /// `Set-Cookie` values that begin or go on with a session.
    pub fn set(&self, access: &str, access_seconds: i64, refresh: &str, refresh_seconds: i64) -> [HeaderValue; 2] {
        [
            self.header(&self.access, access, "/", access_seconds),
            self.header(&self.refresh, refresh, REFRESH_PATH, refresh_seconds),
        ]
    }

    /// `Set-Cookie` values that end a session in the browser.
    pub fn clear(&self) -> [HeaderValue; 2] {
        [self.header(&self.access, "", "/", 0), self.header(&self.refresh, "", REFRESH_PATH, 0)]
    }

    fn header(&self, name: &str, value: &str, path: &str, max_age: i64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).expect("tokens and paths are visible ASCII")
    }
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && !value.is_empty()).then_some(value)
    })
}

/// Refuses an unsafe request that came with a cookie from another origin: 403 `cross_origin`.
///
/// The browser sets `Origin` and scripts cannot; its authority has to be the `Host` that was asked.
pub fn require_same_origin(parts: &Parts) -> ApiResult<()> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = text(header::HOST).or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
    if origin.is_some() && origin == host {
        return Ok(());
    }
    Err(ApiError::forbidden("cross_origin", "a request with a session cookie needs an Origin of the same site"))
}
