//! The embedded files. A response has the smallest encoding that the browser accepts, or is 304.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

#[derive(Debug)]
pub struct Asset {
    /// The path of its URL, such as `/src/main.js`.
    pub path: &'static str,
    /// Of the content.
    pub hash: &'static str,
    pub raw: &'static [u8],
    pub gzip: &'static [u8],
    pub brotli: &'static [u8],
}

/// Every file, sorted by path. `build.rs` generates the list.
pub static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

impl Asset {
    pub fn find(path: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("json") => "application/json",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("txt") => "text/plain; charset=utf-8",
            _ => "text/html; charset=utf-8",
        }
    }

    /// The content for a browser that accepts `encodings`, with the name of its encoding.
    fn encoded(&self, encodings: &str) -> (&'static [u8], Option<&'static str>) {
        let accepts = |name: &str| {
            encodings.split(',').any(|entry| {
                let (encoding, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
                let refused = weight.trim().trim_start_matches("q=").trim_matches(['0', '.']).is_empty();
                encoding.trim() == name && !refused
            })
        };
        [("br", self.brotli), ("gzip", self.gzip)]
            .into_iter()
            .find(|(name, _)| accepts(name))
            .map_or((self.raw, None), |(name, bytes)| (bytes, Some(name)))
    }
}

/// The response to a request with `headers`. Browsers revalidate cached files each time, so that no page mixes modules
/// of two versions after an update.
pub fn respond(asset: &'static Asset, status: StatusCode, headers: &HeaderMap) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (bytes, encoding) = asset.encoded(text(header::ACCEPT_ENCODING));
    let etag = format!("\"{}-{}\"", asset.hash, encoding.unwrap_or("raw"));
    let unchanged = status == StatusCode::OK && matches(text(header::IF_NONE_MATCH), &etag);
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (status, [(header::CONTENT_TYPE, asset.content_type())], bytes).into_response()
    };
    let response_headers = response.headers_mut();
    response_headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response_headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response_headers.insert(header::ETAG, etag);
    }
    if let (false, Some(encoding)) = (unchanged, encoding) {
        response_headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether an `If-None-Match` matches `etag`.
fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
}
