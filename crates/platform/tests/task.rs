//! Background tasks: what happens to a loop that panics, fails or hangs, with a clock that the tests advance.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat, run_to_completion, spawn, supervise},
    telemetry::metrics_handle,
    trace::RequestContext,
};
use tokio::{sync::Notify, time::Instant};

/// The longest pause after a panic.
const MAX_PANIC_PAUSE: Duration = Duration::from_secs(60);

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Counts its rounds and does in each what the test says.
fn counted<N, F>(outcome: F) -> (Arc<AtomicU32>, impl Fn() -> std::future::Ready<anyhow::Result<N>>)
where
    F: Fn(u32) -> anyhow::Result<N>,
{
    let rounds = Arc::<AtomicU32>::default();
    let count = rounds.clone();
    (rounds, move || std::future::ready(outcome(count.fetch_add(1, Ordering::SeqCst))))
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_panics_goes_on_and_is_shown_while_it_does_not_get_on() {
    metrics_handle();
    let lifecycle = Lifecycle::new();
    let (rounds, round) = counted(|before| {
        assert!(before == 0 || before > 3, "a row that nobody foresaw");
        Ok(())
    });

    repeat(&lifecycle, "panicking", Schedule::every(Duration::from_secs(1)), round);

    until("it is shown", || lifecycle.failing_loops().len() == 1).await;
    assert!(lifecycle.failing_loops()[0].contains("panicking: panicked"), "{:?}", lifecycle.failing_loops());
    assert!(lifecycle.failing_loops()[0].contains("a row that nobody foresaw"));
    until("it goes on", || rounds.load(Ordering::SeqCst) > 6).await;
    assert_eq!(lifecycle.failing_loops(), Vec::<String>::new());
    assert!(metrics_handle().render().contains("eventplatform_task_panics_total{task=\"panicking\"} 3"));
    assert!(metrics_handle().render().contains("last_success_timestamp_seconds{task=\"panicking\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_always_panics_pauses_longer_and_longer() {
    let lifecycle = Lifecycle::new();
    let (starts, began) = (Arc::<Mutex<Vec<Instant>>>::default(), Instant::now());
    let log = starts.clone();

    supervise(&lifecycle, "hopeless", move |_| {
        log.lock().unwrap().push(Instant::now());
        async { panic!("again") }
    });

    until("it was started often", || starts.lock().unwrap().len() == 12).await;
    let starts = starts.lock().unwrap();
    let pauses: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(starts[0] == began && pauses[0] <= Duration::from_millis(510), "{pauses:?}");
    assert!(pauses[9] > MAX_PANIC_PAUSE / 3 && pauses.iter().all(|pause| *pause <= MAX_PANIC_PAUSE * 11 / 10));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_fails_tries_again_soon_and_is_shown_after_some_failures() {
    let lifecycle = Lifecycle::new();
    let (rounds, round) = counted(|before| {
        ensure!(before > 20, "the server is away");
        Ok(())
    });

    repeat(&lifecycle, "failing", Schedule::every(Duration::from_secs(3600)), round);

    until("it is shown", || !lifecycle.failing_loops().is_empty()).await;
    assert!(rounds.load(Ordering::SeqCst) >= 5);
    assert!(lifecycle.failing_loops()[0].contains("the server is away"));
    let began = Instant::now();
    until("it got on", || lifecycle.failing_loops().is_empty()).await;
    assert!(began.elapsed() < Duration::from_secs(100));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_shown() {
    let lifecycle = Lifecycle::new();

    repeat(&lifecycle, "hanging", Schedule::every(Duration::from_secs(1)), std::future::pending::<anyhow::Result<()>>);

    until("it is shown", || !lifecycle.failing_loops().is_empty()).await;
    assert!(lifecycle.failing_loops()[0].starts_with("hanging: no success for"));
}

#[tokio::test(start_paused = true)]
async fn a_round_follows_at_once_or_when_woken_or_after_the_pause() {
    let (lifecycle, wake) = (Lifecycle::new(), Arc::new(Notify::new()));
    let (rounds, round) = counted(|before| Ok(if before < 10 { Next::Immediately } else { Next::Later }));
    let schedule = Schedule::every(Duration::from_secs(1000)).or_woken_by(wake.clone());
    let began = Instant::now();

    repeat(&lifecycle, "woken", schedule, round);

    until("the first rounds are over", || rounds.load(Ordering::SeqCst) == 11).await;
    wake.notify_one();
    until("it was woken", || rounds.load(Ordering::SeqCst) == 12).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(1300)).await;
    assert_eq!(rounds.load(Ordering::SeqCst), 13);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_done_is_not_missed() {
    let lifecycle = Lifecycle::new();

    supervise(&lifecycle, "done", |_| async {});
    tokio::time::sleep(Duration::from_secs(1000)).await;

    assert_eq!(lifecycle.failing_loops(), Vec::<String>::new());
}

#[tokio::test]
async fn a_task_that_panics_is_counted_and_the_process_ends_in_order() {
    metrics_handle();
    let lifecycle = Lifecycle::new();

    spawn(&lifecycle, "once", async { panic!("a stream nobody foresaw") });

    until("it is counted", || metrics_handle().render().contains("task_panics_total{task=\"once\"} 1")).await;
}

#[tokio::test(start_paused = true)]
async fn work_runs_to_its_end_though_its_caller_is_dropped() {
    let (done, notify) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (finished, started) = (done.clone(), notify.clone());
    let work = async move {
        started.notify_one();
        tokio::time::sleep(Duration::from_secs(5)).await;
        finished.notify_one();
    };

    tokio::select! { () = run_to_completion(work) => panic!("too early"), () = notify.notified() => {} }

    tokio::time::timeout(Duration::from_secs(10), done.notified()).await.unwrap();
}

#[tokio::test]
async fn work_that_runs_to_its_end_returns_its_outcome_and_keeps_the_context() {
    let context = RequestContext::from_headers(Some("abc"), None);

    let id = context.scope(run_to_completion(async { RequestContext::current().map(|context| context.request_id) }));

    assert_eq!(id.await.as_deref(), Some("abc"));
}

#[tokio::test]
async fn a_panic_of_work_that_runs_to_its_end_continues_in_its_caller() {
    let caller = tokio::spawn(run_to_completion(async { panic!("nobody foresaw this") }));

    assert!(caller.await.unwrap_err().is_panic());
}
