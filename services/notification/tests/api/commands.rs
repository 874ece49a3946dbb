//! How many commands of MongoDB a notification costs.

use contracts::message::Message;
use notification_service::{loops::consumer, state::AppState, store::Store};
use platform::bus::Received;
use testing::commands::Commands;
use uuid::Uuid;

use crate::helpers::{TestApp, booking};

#[tokio::test]
async fn a_notification_costs_three_commands_and_is_stored_once() {
    let app = TestApp::start().await;
    let (database, commands) = Commands::of(app.database.name()).await;
    let state = AppState { store: Store::new(database), ..app.state.clone() };
    let stores = |id| consumer::handle(&state, Received { id, message: Message::BookingConfirmed(booking(1, 1)) });
    let id = Uuid::new_v4();
    // The first transaction announces its session.
    stores(Uuid::new_v4()).await.unwrap();
    commands.take();

    stores(id).await.unwrap();
    let stored = commands.take();
    stores(id).await.unwrap();

    assert_eq!(stored, ["findAndModify", "insert", "commitTransaction"]);
    assert_eq!(app.sequence_numbers(1).await, [2, 1]);
    app.confirms_booking(1, 2).await;
    assert_eq!(app.sequence_numbers(1).await, [3, 2, 1], "the repetition took no number");
    app.end().await;
}
