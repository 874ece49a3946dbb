//! The parts of the schema and the API that other programs rely on.

use sqlx::Row;

use crate::helpers::TestApp;

#[tokio::test]
async fn the_bookings_table_has_the_seeds_columns_and_types() {
    let app = TestApp::start().await;

    let rows = sqlx::query(
        "select column_name::text, data_type::text, is_nullable::text from information_schema.columns
         where table_name = 'bookings' and column_name = any($1) order by ordinal_position",
    )
    .bind(["id", "user_id", "event_id", "status", "payment_status", "created_at"].map(str::to_owned).to_vec())
    .fetch_all(&app.pool)
    .await
    .unwrap();

    let columns: Vec<(String, String, String)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let wanted = [
        ("id", "integer"),
        ("user_id", "integer"),
        ("event_id", "text"),
        ("status", "text"),
        ("payment_status", "text"),
        ("created_at", "timestamp without time zone"),
    ];
    let wanted = wanted.map(|(name, kind)| (name.to_owned(), kind.to_owned(), "NO".to_owned()));
    assert_eq!(columns, wanted);
}

#[tokio::test]
async fn the_database_refuses_a_confirmed_booking_without_payment() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.books(&event, 1).await;

    let refused = sqlx::query("update bookings set status = 'Confirmed'").execute(&app.pool).await.unwrap_err();

    assert_eq!(platform::postgres::violated_constraint(&refused), Some("bookings_confirmed_is_paid"));
}

#[tokio::test]
async fn the_openapi_description_has_every_path() {
    let app = TestApp::start().await;

    let answer = app.get("/bookings/openapi.json").send().await;

    assert_eq!(answer.body["openapi"], "3.1.0");
    for path in [
        "/bookings",
        "/bookings/{id}",
        "/bookings/{id}/cancel",
        "/payments",
        "/payments/{id}",
        "/payments/config",
        "/bookings/sales",
        "/bookings/events/{event_id}/sales",
        "/bookings/events/{event_id}/attendees",
        "/bookings/events/{event_id}/attendees.csv",
        "/tickets",
        "/tickets/keys",
        "/tickets/{ticket}",
        "/tickets/check-ins",
        "/tickets/check-ins/{ticket_id}",
        "/tickets/door-links",
        "/tickets/door-links/{id}",
    ] {
        assert!(answer.body["paths"][path].is_object(), "{path}");
    }
}

#[tokio::test]
async fn readiness_depends_on_postgresql_alone() {
    let app =
        TestApp::with(&["--amqp-url", "amqp://u:p@127.0.0.1:1", "--event-service-url", "http://127.0.0.1:1"]).await;
    let blind = TestApp::with(&["--database-url", "postgres://u:p@127.0.0.1:1/none"]).await;

    assert!(app.app.readiness().failures().await.is_empty());
    let failures = blind.app.readiness().failures().await;

    assert!(failures.len() == 1 && failures[0].starts_with("postgres"), "{failures:?}");
}
