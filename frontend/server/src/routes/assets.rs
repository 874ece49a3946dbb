//! The embedded files, and how one is answered: the smallest form the browser takes, or 304 when it has it already.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// A file of the site.
#[derive(Debug)]
pub struct Asset {
    /// Where it is, such as `/src/main.js`.
    pub path: &'static str,
    /// Changes with the content.
    pub hash: &'static str,
    /// As it is.
    pub raw: &'static [u8],
    /// Compressed with gzip.
    pub gzip: &'static [u8],
    /// Compressed with brotli.
    pub brotli: &'static [u8],
}

/// Every file, in the order of their paths; made by `build.rs`.
pub static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

impl Asset {
    /// The file at `path`.
    pub fn find(path: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("json") => "application/json",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        }
    }

    /// The form for a browser that accepts `encodings`, with the name of its encoding.
    fn form(&self, encodings: &str) -> (&'static [u8], Option<&'static str>) {
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

/// The answer to a request with `headers`. Browsers keep the file but ask each time whether it is still the same, so
/// that after an update no page mixes old modules with new ones.
pub fn answer(asset: &'static Asset, status: StatusCode, headers: &HeaderMap) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (bytes, encoding) = asset.form(text(header::ACCEPT_ENCODING));
    let etag = format!("\"{}-{}\"", asset.hash, encoding.unwrap_or("raw"));
    let unchanged = status == StatusCode::OK && matches(text(header::IF_NONE_MATCH), &etag);
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (status, [(header::CONTENT_TYPE, asset.content_type())], bytes).into_response()
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        out.insert(header::ETAG, etag);
    }
    if let (false, Some(encoding)) = (unchanged, encoding) {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether an `If-None-Match` names `etag`.
fn matches(wanted: &str, etag: &str) -> bool {
    wanted.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == etag || one == "*")
}
