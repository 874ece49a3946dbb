//! How many commands of MongoDB a request costs.

use chrono::TimeDelta;
use contracts::reservation::{DecreaseCapacity, ReservationState};
use event_service::{
    cache::EventCache,
    queue::{OperationQueue, QueueSettings},
    routes,
    store::Store,
};
use platform::{Lifecycle, outbox::Handoff};
use serde_json::json;
use testing::commands::Commands;
use uuid::Uuid;

use crate::helpers::{TestApp, text};

const BATCH: [&str; 3] = ["aggregate", "bulkWrite", "commitTransaction"];

/// The queue of a replica whose commands are counted; its session is announced.
async fn counted(app: &TestApp) -> (OperationQueue, Commands) {
    let (database, commands) = Commands::of(app.database.name()).await;
    counted_in(app, Store::new(database), commands).await
}

async fn counted_in(app: &TestApp, store: Store, commands: Commands) -> (OperationQueue, Commands) {
    let cache = EventCache::new(store.clone(), app.clock.clone(), routes::RENDER);
    let settings = QueueSettings { batch_max: 500, quiet_period: TimeDelta::seconds(1) };
    let queue = OperationQueue::new(store, cache, Lifecycle::new(), Handoff::default(), settings);
    queue.release("nothing", Uuid::new_v4(), false).await.unwrap();
    commands.take();
    (queue, commands)
}

fn seats_for(user_id: i32) -> DecreaseCapacity {
    DecreaseCapacity {
        reservation_id: Uuid::new_v4(),
        seats: 1,
        hold_seconds: 900,
        user_id: Some(user_id),
        paid: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_a_confirmation_and_a_release_cost_three_commands_each() {
    let app = TestApp::start().await;
    for event in [json!({}), json!({ "price": 0 }), json!({ "max_seats_per_person": 3 })] {
        let id = text(&app.creates(&event).await["id"]);
        let (queue, commands) = counted(&app).await;
        let hold = seats_for(1);
        let reservation = hold.reservation_id;

        queue.hold(&id, hold, None).await.unwrap();
        assert_eq!(commands.take(), BATCH, "hold");
        queue.confirm(&id, reservation).await.unwrap();
        assert_eq!(commands.take(), BATCH, "confirmation");
        let released = queue.release(&id, reservation, false).await.unwrap();
        assert_eq!(commands.take(), BATCH, "release");

        assert_eq!(released.state, ReservationState::Released);
        assert_eq!(app.counters(&id).await, (100, 0, 0));
    }
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_user_has_seats_is_applied_again_to_what_was_read() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let (queue, commands) = counted(&app).await;
    queue.hold(&id, seats_for(1), None).await.unwrap();
    commands.take();

    queue.hold(&id, seats_for(1), None).await.unwrap();

    assert_eq!(commands.take()[..3], ["aggregate", "bulkWrite", "abortTransaction"]);
    assert_eq!(app.counters(&id).await, (8, 2, 0));
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_bulk_writes_gets_them_one_by_one() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let (database, commands) = Commands::of(app.database.name()).await;
    let (queue, commands) = counted_in(&app, Store::new(database).without_bulk_writes(), commands).await;
    let (first, second) = (seats_for(1), seats_for(1));
    let reservation = first.reservation_id;

    queue.hold(&id, first, None).await.unwrap();
    assert_eq!(commands.take(), ["aggregate", "update", "update", "insert", "commitTransaction"]);
    // It finds the seats that the user has.
    queue.hold(&id, second.clone(), None).await.unwrap();
    queue.confirm(&id, reservation).await.unwrap();
    queue.release(&id, second.reservation_id, false).await.unwrap();

    assert!(!commands.take().contains(&"bulkWrite".to_owned()));
    assert_eq!(app.counters(&id).await, (9, 0, 1));
    app.assert_sound().await;
    app.end().await;
}
