//! Cursor pagination: `limit` and `cursor` in, `{items, next_cursor}` out.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{ApiError, ApiResult};

/// Items of a list without a `limit`.
pub const DEFAULT_LIMIT: u32 = 20;
/// The largest `limit`.
pub const MAX_LIMIT: u32 = 100;
/// The longest text in a cursor, in bytes: ids and codes are shorter.
const MAX_TEXT: usize = 200;

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

/// The position that a cursor stands for; 400 `invalid_cursor` if we did not issue it.
pub fn decode_cursor<C: DeserializeOwned>(cursor: Option<&str>) -> ApiResult<Option<C>> {
    cursor.map(|text| position(text).ok_or_else(invalid_cursor)).transpose()
}

/// 400: we did not issue the cursor, or it belongs to another list.
pub fn invalid_cursor() -> ApiError {
    ApiError::bad_request("invalid_cursor", "cursor: take next_cursor of the page before, unchanged")
}

fn position<C: DeserializeOwned>(text: &str) -> Option<C> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    let value: Value = serde_json::from_slice(&json).ok()?;
    if is_valid_position(&value) { serde_json::from_value(value).ok() } else { None }
}

/// Positions are numbers, ids and codes, alone or in an array. Other text may fail in a database: PostgreSQL cannot
/// store NUL.
fn is_valid_position(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => text.len() <= MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic()),
        Value::Array(parts) => parts.iter().all(|part| !part.is_array() && is_valid_position(part)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    #[test]
    fn a_cursor_of_ours_is_read_back() {
        let position = (1_900_000_000_000_i64, "66f-a_1".to_owned());

        let read = decode_cursor::<(i64, String)>(Some(&encode_cursor(&position))).unwrap();

        assert_eq!(read, Some(position));
        assert_eq!(decode_cursor::<i32>(Some(&encode_cursor(&7))).unwrap(), Some(7));
        assert_eq!(decode_cursor::<i32>(None).unwrap(), None);
    }

    #[test]
    fn no_other_text_gets_through_a_cursor() {
        let long = format!(r#"["{}", "EUR"]"#, "x".repeat(MAX_TEXT + 1));
        let texts = [r#"["a\u0000b", "EUR"]"#, r#"["", "\u202e"]"#, r#"["a b", "EUR"]"#, r#"[["a"], "EUR"]"#, &long];
        for json in texts {
            let refused = decode_cursor::<(String, String)>(Some(&cursor(json))).unwrap_err();
            assert_eq!(refused.code(), "invalid_cursor", "{json}");
        }
        for json in ["2147483648", "-2147483649", "1e3", "null", "\"7\"", "[7, 8]", "{}", "7 7", ""] {
            assert!(decode_cursor::<i32>(Some(&cursor(json))).is_err(), "{json}");
        }
        assert!(decode_cursor::<i32>(Some("%%%")).is_err());
    }
}
