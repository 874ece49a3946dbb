//! Session cookies: HttpOnly, SameSite=Strict, named so that two platforms on one host name do not mix; and the
//! same-origin rule for requests that carry them.

use axum::http::{HeaderMap, HeaderValue, Method, header, request::Parts, uri::Authority};
use url::{Origin, Url};

use crate::{ApiError, ApiResult};

/// Names and attributes of the session cookies of one platform.
///
/// Browsers keep cookies by host name alone, so the port of the public URL goes into the names.
#[derive(Clone, Debug)]
pub struct Cookies {
    access: String,
    /// The name of the access cookie in the previous version, where it differs.
    earlier_access: Option<String>,
    refresh: String,
    device: String,
    public_url: Url,
}

/// The path that the refresh cookie is sent to, and no other.
const REFRESH_PATH: &str = "/users";
/// The only path that the device cookie is sent to.
const DEVICE_PATH: &str = "/users/login";
/// How long a browser stays known, in seconds: 180 days.
const DEVICE_SECONDS: i64 = 180 * 86_400;
/// The most cookies of one name that are tried.
const MAX_DUPLICATES: usize = 8;

impl Cookies {
    /// The cookies of the platform at `public_url`.
    pub fn new(public_url: &Url) -> Self {
        let secure = public_url.scheme() == "https";
        let port = public_url.port_or_known_default().unwrap_or(80);
        // No other host and no unencrypted connection can set a `__Host-` cookie; it requires the path `/`.
        let (host, plain) = if secure { ("__Host-", "__Secure-") } else { ("", "") };
        Self {
            access: format!("{host}evp{port}_access"),
            earlier_access: secure.then(|| format!("{plain}evp{port}_access")),
            refresh: format!("{plain}evp{port}_refresh"),
            device: format!("{plain}evp{port}_device"),
            public_url: public_url.clone(),
        }
    }

    /// The access tokens in the request's cookies, those with the safest name first. Where several cookies have one
    /// name, any valid one counts.
    pub fn access_tokens<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        let earlier = self.earlier_access.iter().flat_map(|name| find(headers, name));
        distinct(find(headers, &self.access).chain(earlier))
    }

    /// The refresh tokens in the request's cookies.
    pub fn refresh_tokens<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        distinct(find(headers, &self.refresh))
    }

    /// The tokens by which a browser may be recognized.
    pub fn device_tokens<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        distinct(find(headers, &self.device))
    }

    /// `Set-Cookie` values that begin or go on with a session.
    ///
    /// The access cookie is also set under its earlier name, because replicas of the previous version read no other.
    pub fn set(&self, access: &str, access_seconds: i64, refresh: &str, refresh_seconds: i64) -> Vec<HeaderValue> {
        let mut cookies = vec![
            self.header(&self.access, access, "/", access_seconds),
            self.header(&self.refresh, refresh, REFRESH_PATH, refresh_seconds),
        ];
        cookies.extend(self.earlier_access.iter().map(|name| self.header(name, access, "/", access_seconds)));
        cookies
    }

    /// The `Set-Cookie` value by which a browser is recognized at its next login.
    pub fn set_device(&self, token: &str) -> HeaderValue {
        self.header(&self.device, token, DEVICE_PATH, DEVICE_SECONDS)
    }

    /// `Set-Cookie` values that end a session in the browser.
    pub fn clear(&self) -> Vec<HeaderValue> {
        self.set("", 0, "", 0)
    }

    fn header(&self, name: &str, value: &str, path: &str, max_age: i64) -> HeaderValue {
        let secure = if self.public_url.scheme() == "https" { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).expect("tokens and paths are visible ASCII")
    }

    /// Refuses an unsafe request with cookies that comes from another origin: 403 `cross_origin`.
    ///
    /// Only the browser can set `Origin`, scripts cannot. It must be that of the public URL, or the requested host
    /// under the public URL's scheme: a platform may have other names, and in development each service is asked
    /// directly.
    pub fn require_same_origin(&self, parts: &Parts) -> ApiResult<()> {
        if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).or_else(|| parts.uri.authority().map(Authority::as_str));
        let asked = host.and_then(|host| origin(&format!("{}://{host}", self.public_url.scheme())));
        let from = text(header::ORIGIN).and_then(origin);
        if from.is_some() && (from == asked || from == Some(self.public_url.origin())) {
            return Ok(());
        }
        Err(ApiError::forbidden("cross_origin", "a request with a session cookie needs an Origin of the same site"))
    }
}

/// The origin of a URL without a path. The scheme's default port and no port are the same. `None` for `null` and
/// anything else that is not an origin.
fn origin(text: &str) -> Option<Origin> {
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    (bare && url.host().is_some()).then(|| url.origin()).filter(Origin::is_tuple)
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    // Other cookies of the host may have any bytes, and must not hide ours.
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let (key, value) = std::str::from_utf8(pair).ok()?.trim().split_once('=')?;
        (key == name && !value.is_empty()).then_some(value)
    })
}

fn distinct<'a>(tokens: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for token in tokens {
        if !found.contains(&token) && found.len() < MAX_DUPLICATES {
            found.push(token);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn cookies(public_url: &str) -> Cookies {
        Cookies::new(&public_url.parse().expect("a URL"))
    }

    fn names(values: &[HeaderValue]) -> Vec<String> {
        let text = values.iter().map(|value| value.to_str().expect("ASCII"));
        text.map(|text| text.split('=').next().expect("a name").to_owned()).collect()
    }

    fn accepts(cookies: &Cookies, origin: &str, host: &str) -> bool {
        let request = Request::post("/users/logout").header("origin", origin).header("host", host);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        cookies.require_same_origin(&parts).is_ok()
    }

    #[test]
    fn over_https_the_access_cookie_belongs_to_the_host_alone() {
        let cookies = cookies("https://tickets.example");

        let set = cookies.set("a", 600, "r", 3600);

        let expected = ["__Host-evp443_access", "__Secure-evp443_refresh", "__Secure-evp443_access"];
        assert_eq!(names(&set), expected);
        assert_eq!(set[0], "__Host-evp443_access=a; Path=/; Max-Age=600; HttpOnly; SameSite=Strict; Secure");
        assert!(set[1].to_str().expect("ASCII").contains("; Path=/users; "));
        assert_eq!(names(&cookies.clear()), expected);
    }

    #[test]
    fn over_http_names_have_no_prefix() {
        let cookies = cookies("http://localhost:8080");

        assert_eq!(names(&cookies.set("a", 600, "r", 3600)), ["evp8080_access", "evp8080_refresh"]);
        assert_eq!(names(&[cookies.set_device("d")]), ["evp8080_device"]);
    }

    #[test]
    fn every_duplicate_is_found_once_and_the_best_name_comes_first() {
        let cookies = cookies("https://tickets.example");
        let mut headers = HeaderMap::new();
        let line = "__Secure-evp443_access=old; __Host-evp443_access=a; x=y; __Host-evp443_access=b";
        headers.append("cookie", HeaderValue::from_static(line));
        headers.append("cookie", HeaderValue::from_static("__Host-evp443_access=a; __Host-evp443_access="));

        assert_eq!(cookies.access_tokens(&headers), ["a", "b", "old"]);
    }

    #[test]
    fn cookies_of_others_hide_none_of_ours() {
        let cookies = cookies("http://localhost:8080");
        let mut headers = HeaderMap::new();
        let line = b"town=M\xc3\xbcnchen; odd=\xff; =; evp8080_access=a; evp8080_access=\xff; evp8080_device=d";
        headers.append("cookie", HeaderValue::from_bytes(line).expect("bytes that HTTP allows"));

        assert_eq!(cookies.access_tokens(&headers), ["a"]);
        assert_eq!(cookies.device_tokens(&headers), ["d"]);
    }

    #[test]
    fn an_origin_counts_with_its_scheme() {
        let secure = cookies("https://tickets.example");
        assert!(accepts(&secure, "https://tickets.example", "tickets.example"));
        assert!(accepts(&secure, "https://tickets.example", "tickets.example:443"));
        assert!(accepts(&secure, "https://tickets.example", "user-service:8080"), "a proxy that sets another Host");
        assert!(accepts(&secure, "https://www.tickets.example", "www.tickets.example"), "another name of the platform");
        assert!(!accepts(&secure, "http://tickets.example", "tickets.example"));
        assert!(!accepts(&secure, "https://tickets.example:8443", "tickets.example"));
        assert!(!accepts(&secure, "https://evil.example", "tickets.example"));

        let plain = cookies("http://localhost:8080");
        assert!(accepts(&plain, "http://localhost:8080", "localhost"), "an ingress that takes the port from Host");
        assert!(accepts(&plain, "http://127.0.0.1:3001", "127.0.0.1:3001"), "asked directly");
        assert!(!accepts(&plain, "https://localhost:8080", "localhost:8080"));
        for odd in ["null", "", "localhost:8080", "http://", "file://", "http://localhost:8080@evil.example"] {
            assert!(!accepts(&plain, odd, "localhost:8080"), "{odd}");
        }
    }
}
