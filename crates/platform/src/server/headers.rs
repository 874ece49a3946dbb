//! Headers of every response, whether a handler, the router or the HTTP implementation made it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::ServerArgs;

/// The default, because responses contain personal data, tokens and current prices.
const ALWAYS: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];
/// A year, for this host only: we do not know whether its subdomains speak TLS.
const HSTS: (HeaderName, HeaderValue) =
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));

/// The default headers of one program's responses.
#[derive(Clone, Copy, Debug)]
pub(super) struct DefaultHeaders {
    https: bool,
}

impl DefaultHeaders {
    /// HSTS is sent where the public URL is https.
    pub(super) fn new(args: &ServerArgs) -> Self {
        Self { https: args.public_url.scheme() == "https" }
    }

    /// Adds the headers that are missing.
    pub(super) fn add_to(self, headers: &mut HeaderMap) {
        for (name, value) in ALWAYS.into_iter().chain(self.https.then_some(HSTS)) {
            headers.entry(name).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(https: bool, headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        DefaultHeaders { https }.add_to(&mut map);
        map
    }

    #[test]
    fn a_header_that_a_handler_set_is_kept() {
        let headers = added(false, &[(header::CACHE_CONTROL, "no-cache")]);

        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }

    #[test]
    fn hsts_is_sent_only_if_the_public_url_is_https() {
        assert_eq!(added(true, &[])[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000");
        assert!(!added(false, &[]).contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
}
