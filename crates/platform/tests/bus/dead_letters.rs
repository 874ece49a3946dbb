//! Dead letters: counted, and driven back.

use anyhow::anyhow;
use platform::{
    Lifecycle,
    bus::{Failure, redrive, start_counting_dead_letters},
    telemetry::metrics_handle,
};

use crate::helpers::{Broker, QUEUE, TestConsumer, bus_at, until, url};

#[tokio::test]
async fn dead_letters_that_are_driven_back_are_handled_once_mended() {
    let broker = Broker::alone().await;
    let mut ids = [broker.publishes().await, broker.publishes().await, broker.publishes().await];
    let broken = TestConsumer::start(bus_at(&url()), 4, |_, _| async { Err(Failure::Poison(anyhow!("a bug"))) });
    until("all are dead letters", async || broker.dead_letters().await == 3).await;
    broken.stop().await;

    let moved = redrive(&bus_at(&url()), QUEUE).await.unwrap();

    assert_eq!((moved, broker.dead_letters().await), (3, 0));
    let mended = TestConsumer::start(bus_at(&url()), 4, |_, _| async { Ok(()) });
    until("all are handled", async || mended.handed.lock().unwrap().len() == 3).await;
    let mut handled = mended.handed.lock().unwrap().clone();
    handled.sort_unstable();
    ids.sort_unstable();
    assert_eq!(handled, ids);
    mended.stop().await;
}

#[tokio::test]
async fn a_dead_letter_that_fails_again_is_driven_back_once_a_run() {
    let broker = Broker::alone().await;
    let id = broker.publishes().await;
    let broken = TestConsumer::start(bus_at(&url()), 4, |_, _| async { Err(Failure::Poison(anyhow!("a bug"))) });
    until("it is a dead letter", async || broker.dead_letters().await == 1).await;

    let moved = redrive(&bus_at(&url()), QUEUE).await.unwrap();

    assert_eq!(moved, 1);
    until("it is a dead letter again", async || broker.dead_letters().await == 1).await;
    assert_eq!(broken.times(id), 2);
    broken.stop().await;
}

#[tokio::test]
async fn the_number_of_dead_letters_is_a_metric() {
    let broker = Broker::alone().await;
    let metrics = metrics_handle();
    let broken = TestConsumer::start(bus_at(&url()), 4, |_, _| async { Err(Failure::Poison(anyhow!("a bug"))) });
    broker.publishes().await;
    until("it is a dead letter", async || broker.dead_letters().await == 1).await;
    let lifecycle = Lifecycle::new();

    start_counting_dead_letters(&lifecycle, bus_at(&url()), &[QUEUE]);

    let line = format!("eventplatform_dead_letters{{queue=\"{}\"}} 1", QUEUE.name);
    until("it is counted", async || metrics.render().contains(&line)).await;
    lifecycle.stop();
    broken.stop().await;
}
