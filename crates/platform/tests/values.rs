//! What PostgreSQL cannot hold is the request's fault, never a 5xx.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use platform::ApiError;
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn a_value_that_postgresql_cannot_hold_is_a_bad_request() {
    let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set; run: make test");
    let mut connection = PgConnection::connect(&url).await.unwrap();

    for (sql, value) in [
        ("select $1::text", "a\0b"),
        ("select $1::text::jsonb", r#"{"a": "\u0000"}"#),
        ("select $1::text::integer", "2147483648"),
        ("select $1::text::timestamptz", "300000-01-01"),
        ("select $1::text::timestamptz", "2026-02-30"),
        ("select $1::text::uuid", "no id"),
    ] {
        let error = sqlx::query(sql).bind(value).execute(&mut connection).await.unwrap_err();
        let refused = ApiError::from(error);

        assert_eq!((refused.status().as_u16(), refused.code()), (400, "unfit_value"), "{sql} of {value:?}");
    }
    let mistake = sqlx::query("select nothing from nowhere").execute(&mut connection).await.unwrap_err();
    assert_eq!(ApiError::from(mistake).status().as_u16(), 500);
}
