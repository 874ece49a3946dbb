//! Cursor pagination: `limit` and `cursor` in, `{items, next_cursor}` out.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ApiError, ApiResult};

/// Items of a list without a `limit`.
pub const DEFAULT_LIMIT: u32 = 20;
/// The largest `limit`.
pub const MAX_LIMIT: u32 = 100;

/// The query parameters of every list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Items a page, 1 to 100; 20 if absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// For the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page from up to `limit + 1` rows: the row too many says that there is a next page after the last one kept.
    pub fn of<C: Serialize>(mut rows: Vec<T>, limit: u32, cursor_of: impl Fn(&T) -> C) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(|last| encode_cursor(&cursor_of(last))) } else { None };
        Self { items: rows, next_cursor }
    }

    /// The same page with other items.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }
}

/// The `limit` to use; 400 outside of 1 to 100.
pub fn parse_limit(limit: Option<u32>) -> ApiResult<u32> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ApiError::bad_request("invalid_query", format!("limit: must be from 1 to {MAX_LIMIT}"))),
    }
}

/// An opaque cursor: base64url of JSON.
pub fn encode_cursor<C: Serialize>(position: &C) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).expect("a cursor is plain data"))
}

/// The position that a cursor stands for; 400 if we did not make it.
pub fn decode_cursor<C: DeserializeOwned>(cursor: Option<&str>) -> ApiResult<Option<C>> {
    let Some(text) = cursor else { return Ok(None) };
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok()).map(Some).ok_or_else(|| {
        ApiError::bad_request("invalid_cursor", "cursor: take next_cursor of the page before, unchanged")
    })
}
