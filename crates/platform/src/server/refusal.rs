//! Gives the answers that hyper itself makes to unreadable heads the body and the headers of every other refusal.
//!
//! hyper answers them with an empty 400, 414 or 431 and closes the connection; no handler and no middleware sees them.
//! So the socket looks at what is written, and replaces such an answer by a problem document.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use uuid::Uuid;

use super::headers::DefaultHeaders;
use crate::error::Problem;

/// The answer to write instead of `head`, if that is one of hyper's own. The platform's answers always carry more
/// headers than these three.
pub(super) fn replacement(head: &[u8], defaults: DefaultHeaders) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let (code, detail) = words(status)?;
    let mut empty = false;
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        match name {
            "content-length" if value == "0" => empty = true,
            "connection" | "date" => {}
            _ => return None,
        }
    }
    metrics::counter!("eventplatform_http_unreadable_heads_total", "status" => status.to_string()).increment(1);
    empty.then(|| answer(status, code, detail, defaults))
}

fn words(status: u16) -> Option<(&'static str, &'static str)> {
    match status {
        400 => Some(("malformed_request", "this is not valid HTTP (RFC 9112)")),
        414 => Some(("uri_too_long", "the URI is too long")),
        431 => Some(("headers_too_large", "the request has too many headers, or too large ones")),
        _ => None,
    }
}

fn answer(status: u16, code: &'static str, detail: &str, defaults: DefaultHeaders) -> Vec<u8> {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    let request_id = Uuid::new_v4().to_string();
    let mut headers = axum::http::HeaderMap::new();
    defaults.add_to(&mut headers);
    let problem = Problem {
        kind: "about:blank",
        title: title.to_owned(),
        status,
        code,
        detail: detail.to_owned(),
        request_id: Some(request_id.clone()),
        errors: Vec::new(),
        members: BTreeMap::new(),
    };
    let body = serde_json::to_string(&problem).expect("a problem is plain data");
    let mut text = format!(
        "HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         connection: close\r\nx-request-id: {request_id}\r\n",
        body.len()
    );
    for (name, value) in &headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    text += "\r\n";
    text += &body;
    text.into_bytes()
}
