//! Consuming: what each outcome of a handler does to its message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::anyhow;
use chrono::TimeDelta;
use contracts::message::Message;
use lapin::types::{AMQPValue, FieldTable};
use platform::{
    Clock,
    bus::{DELIVERY_LIMIT, Failure, retry_queue},
    trace::{RequestContext, TraceContext},
};

use crate::helpers::{Broker, Proxy, QUEUE, TestConsumer, bus_at, row, until, url};

#[tokio::test]
async fn a_message_that_keeps_failing_becomes_a_dead_letter_after_the_limit_and_others_are_handled() {
    let broker = Broker::alone().await;
    let bad = broker.publishes().await;
    let good = broker.publishes().await;

    let consumer = TestConsumer::start(bus_at(&url()), 4, move |received, _| async move {
        if received.id == bad { Err(Failure::Failed(anyhow!("not this time"))) } else { Ok(()) }
    });

    until("the other one is handled", async || consumer.times(good) == 1).await;
    until("it becomes a dead letter", async || broker.dead_letters().await == 1).await;
    let limit = usize::try_from(DELIVERY_LIMIT).unwrap();
    assert!((limit..=limit + 1).contains(&consumer.times(bad)), "{} deliveries", consumer.times(bad));
    consumer.stop().await;
}

#[tokio::test]
async fn poison_is_not_delivered_again() {
    let broker = Broker::alone().await;
    broker.publishes_raw("no-uuid", "{}").await;
    let refused = broker.publishes().await;
    broker.publishes_raw(&uuid::Uuid::new_v4().to_string(), "not json").await;

    let consumer = TestConsumer::start(bus_at(&url()), 1, |_, _| async { Err(Failure::Poison(anyhow!("never"))) });

    until("all three are dead letters", async || broker.dead_letters().await == 3).await;
    assert_eq!(*consumer.handed.lock().unwrap(), [refused]);
    consumer.stop().await;
}

#[tokio::test]
async fn while_a_dependency_is_away_the_message_is_kept_and_the_next_one_waits() {
    let broker = Broker::alone().await;
    let first = broker.publishes().await;
    let second = broker.publishes().await;

    let consumer = TestConsumer::start(bus_at(&url()), 1, move |received, before| async move {
        if received.id == first && before < 3 { Err(Failure::Unavailable(anyhow!("away"))) } else { Ok(()) }
    });

    until("the second one is handled", async || consumer.times(second) == 1).await;
    assert_eq!(*consumer.handed.lock().unwrap(), [first, first, first, first, second]);
    assert_eq!(broker.dead_letters().await, 0);
    consumer.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_gets_the_message_again() {
    let broker = Broker::alone().await;
    let id = broker.publishes().await;

    let consumer = TestConsumer::start(bus_at(&url()), 1, |_, before| async move {
        assert!(before > 0, "the first time is a bug");
        Ok(())
    });

    until("it is handled", async || consumer.times(id) == 2).await;
    consumer.stop().await;
    assert_eq!(broker.waiting(QUEUE.name.to_owned()).await, 0);
}

#[tokio::test]
async fn a_handler_runs_to_its_end_though_the_connection_breaks_and_gets_the_message_again() {
    let broker = Broker::alone().await;
    let proxy = Proxy::start().await;
    let finished = Arc::new(AtomicUsize::new(0));
    let count = finished.clone();
    let consumer = TestConsumer::start(proxy.bus(), 4, move |_, _| {
        let count = count.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let id = broker.publishes().await;
    until("it is being handled", async || consumer.times(id) == 1).await;

    proxy.cut();
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.mend();

    until("it is handled again", async || finished.load(Ordering::SeqCst) == 2).await;
    assert_eq!(consumer.times(id), 2);
    consumer.stop().await;
    assert_eq!(broker.waiting(QUEUE.name.to_owned()).await, 0);
}

#[tokio::test]
async fn a_consumer_that_stops_finishes_what_it_has_begun_and_leaves_the_rest() {
    let broker = Broker::alone().await;
    let consumer = TestConsumer::start(bus_at(&url()), 1, |_, _| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    });
    let begun = broker.publishes().await;
    let left = broker.publishes().await;
    until("the first one is being handled", async || consumer.times(begun) == 1).await;

    let handed = consumer.handed.clone();
    consumer.stop().await;

    assert_eq!(*handed.lock().unwrap(), [begun]);
    until("the other one waits", async || broker.waiting(QUEUE.name.to_owned()).await == 1).await;
    let next = TestConsumer::start(bus_at(&url()), 1, |_, _| async { Ok(()) });
    until("the other one is handled", async || next.times(left) == 1).await;
    assert_eq!(next.times(begun), 0);
    next.stop().await;
}

#[tokio::test]
async fn the_trace_of_the_publisher_goes_on_in_the_handler() {
    let broker = Broker::alone().await;
    let (seen, mut traces) = tokio::sync::mpsc::unbounded_channel();
    let consumer = TestConsumer::start(bus_at(&url()), 1, move |_, _| {
        let seen = seen.clone();
        async move {
            seen.send(RequestContext::current().unwrap().trace.trace_id()).unwrap();
            Ok(())
        }
    });
    let trace = TraceContext::root();
    let mut row = row();
    row.traceparent = Some(trace.to_string());

    broker.publisher.publish_all(&[row.into()]).await.remove(0).unwrap();

    assert_eq!(traces.recv().await.unwrap(), trace.trace_id());
    consumer.stop().await;
}

#[tokio::test]
async fn a_message_larger_than_a_frame_arrives_whole() {
    let broker = Broker::alone().await;
    let (seen, mut messages) = tokio::sync::mpsc::unbounded_channel();
    let consumer = TestConsumer::start(bus_at(&url()), 1, move |received, _| {
        seen.send(received.message).unwrap();
        async { Ok(()) }
    });
    let mut row = row();
    if let Message::EventCancelled(fact) = &mut row.message {
        fact.title = "x".repeat(100_000);
    }

    broker.publisher.publish_all(&[row.clone().into()]).await.remove(0).unwrap();

    assert_eq!(messages.recv().await.unwrap(), row.message);
    consumer.stop().await;
}

#[tokio::test]
async fn a_message_of_a_type_of_tomorrow_waits_for_a_newer_replica_and_holds_nothing_up() {
    let broker = Broker::alone().await;
    let (old, newer) = (AtomicUsize::default(), AtomicUsize::default());
    let counts = Arc::new((old, newer));
    let count = counts.clone();
    broker.publishes_raw(&uuid::Uuid::new_v4().to_string(), "{\"type\":\"event.of_tomorrow\",\"new\":1}").await;
    let learned = broker.publishes().await;
    let known = broker.publishes().await;

    let consumer = TestConsumer::start(bus_at(&url()), 1, move |received, before| {
        let count = count.clone();
        async move {
            if received.id == learned && before == 0 {
                count.0.fetch_add(1, Ordering::SeqCst);
                return Err(Failure::Unsupported(anyhow!("not known yet")));
            }
            count.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });

    until("the others are handled at once", async || consumer.times(known) == 1).await;
    assert_eq!(consumer.times(learned), 1, "it waits");
    until("a newer replica handles it", async || consumer.times(learned) == 2).await;
    assert_eq!((counts.0.load(Ordering::SeqCst), counts.1.load(Ordering::SeqCst)), (1, 2));
    until("the unknown one waits", async || broker.waiting(retry_queue(QUEUE)).await == 1).await;
    assert_eq!((broker.dead_letters().await, consumer.handed.lock().unwrap().len()), (0, 3));
    consumer.stop().await;
}

#[tokio::test]
async fn a_message_of_an_unknown_type_becomes_a_dead_letter_after_ten_minutes() {
    let broker = Broker::alone().await;
    let ago = |minutes| {
        let mut headers = FieldTable::default();
        let since = Clock::system().now() - TimeDelta::minutes(minutes);
        headers.insert("x-held-since".into(), AMQPValue::LongLongInt(since.timestamp_millis()));
        headers
    };
    let body = "{\"type\":\"event.of_tomorrow\"}";
    broker.publishes_with(&uuid::Uuid::new_v4().to_string(), body, ago(9)).await;
    broker.publishes_with(&uuid::Uuid::new_v4().to_string(), body, ago(11)).await;

    let consumer = TestConsumer::start(bus_at(&url()), 4, |_, _| async { Ok(()) });

    until("one is a dead letter", async || broker.dead_letters().await == 1).await;
    until("the other waits", async || broker.waiting(retry_queue(QUEUE)).await == 1).await;
    consumer.stop().await;
}
