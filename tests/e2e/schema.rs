//! The table that the starting document describes has its columns and types.

use eventplatform_tests::programs::Program;

use crate::platform;

#[tokio::test(flavor = "multi_thread")]
async fn the_bookings_table_has_the_columns_of_the_starting_document() {
    let platform = platform().await;
    let database = platform.database(Program::Booking).await.unwrap();
    let query =
        "select column_name::text, data_type::text from information_schema.columns where table_name = 'bookings'";

    let columns: Vec<(String, String)> = sqlx::query_as(query).fetch_all(&database).await.unwrap();

    for (name, data_type) in [
        ("id", "integer"),
        ("user_id", "integer"),
        ("event_id", "text"),
        ("status", "text"),
        ("payment_status", "text"),
        ("created_at", "timestamp without time zone"),
    ] {
        let column = columns.iter().find(|(column, _)| column == name);
        assert_eq!(column.map(|(_, data_type)| data_type.as_str()), Some(data_type), "{name}");
    }
    let key = "select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
               where i.indrelid = 'bookings'::regclass and i.indisprimary";
    let key: Vec<String> = sqlx::query_scalar(key).fetch_all(&database).await.unwrap();
    assert_eq!(key, ["id"]);
}
