//! Asks servers in the background: one that does not answer keeps only the first reconcile waiting, and the platforms whose
//! servers answer get their turns.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinHandle};

use super::{ServerFailure, TIMEOUT};

/// How long a reconcile waits for a server.
const WAIT: Duration = Duration::from_secs(5);
/// How long it waits for a server that did not answer in time before.
const WAIT_AGAIN: Duration = Duration::from_millis(250);
/// What nobody has asked about again for this time belongs to a platform that has changed or is gone.
const KEPT: Duration = Duration::from_secs(120);

/// What servers of one kind are being asked.
pub(super) struct Inquiries<T, R> {
    /// For messages.
    server: &'static str,
    wait: Duration,
    wait_again: Duration,
    open: Mutex<Vec<Inquiry<T, R>>>,
}

/// A question whose answer did not come in time.
struct Inquiry<T, R> {
    target: T,
    work: JoinHandle<Result<R, ServerFailure>>,
    /// What is known of the server meanwhile.
    failure: ServerFailure,
    asked: Instant,
}

impl<T: Clone + PartialEq, R: Send + 'static> Inquiries<T, R> {
    pub(super) fn new(server: &'static str) -> Self {
        Self { server, wait: WAIT, wait_again: WAIT_AGAIN, open: Mutex::default() }
    }

    /// Asks a server, once at a time. While its answer is awaited, the server has failed as it did before.
    pub(super) async fn ask<F>(&self, target: &T, question: impl FnOnce(T) -> F) -> Result<R, ServerFailure>
    where
        F: Future<Output = Result<R, ServerFailure>> + Send + 'static,
    {
        let (mut work, known) = match self.take(target) {
            Some(open) if !open.work.is_finished() => (open.work, Some(open.failure)),
            // What came late may be out of date by now. Whether it was a failure tells how long to wait this time.
            Some(late) => (self.start(question(target.clone())), self.result(late.work.await).err()),
            None => (self.start(question(target.clone())), None),
        };
        let wait = if known.is_some() { self.wait_again } else { self.wait };
        if let Ok(ended) = tokio::time::timeout(wait, &mut work).await {
            return self.result(ended);
        }
        let failure = known.unwrap_or_else(|| self.unreachable(wait));
        let open = Inquiry { target: target.clone(), work, failure: failure.clone(), asked: Instant::now() };
        self.open().push(open);
        Err(failure)
    }

    /// Runs `work` in its own task: a driver's futures must not be dropped midway while their client is in use.
    fn start<F>(&self, work: F) -> JoinHandle<Result<R, ServerFailure>>
    where
        F: Future<Output = Result<R, ServerFailure>> + Send + 'static,
    {
        let unreachable = self.unreachable(TIMEOUT);
        tokio::spawn(async move { tokio::time::timeout(TIMEOUT, work).await.unwrap_or(Err(unreachable)) })
    }

    fn take(&self, target: &T) -> Option<Inquiry<T, R>> {
        let mut open = self.open();
        open.retain(|inquiry| inquiry.asked.elapsed() < KEPT);
        let at = open.iter().position(|inquiry| inquiry.target == *target)?;
        Some(open.swap_remove(at))
    }

    fn open(&self) -> MutexGuard<'_, Vec<Inquiry<T, R>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self, ended: Result<Result<R, ServerFailure>, JoinError>) -> Result<R, ServerFailure> {
        ended.unwrap_or_else(|error| Err(ServerFailure::Refused(format!("preparing {} failed: {error}", self.server))))
    }

    fn unreachable(&self, wait: Duration) -> ServerFailure {
        ServerFailure::Unreachable(format!("{} did not answer within {} s", self.server, wait.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    /// Asks a server that answers once `answers` is true, and counts how often it is asked.
    async fn ask(
        inquiries: &Inquiries<u8, u8>,
        target: u8,
        asked: &watch::Sender<u32>,
        answers: &watch::Receiver<bool>,
    ) -> Result<u8, ServerFailure> {
        let (asked, mut answers) = (asked.clone(), answers.clone());
        let question = move |target| async move {
            asked.send_modify(|count| *count += 1);
            answers.wait_for(|answers| *answers).await.unwrap();
            Ok(target)
        };
        inquiries.ask(&target, question).await
    }

    fn impatient() -> Inquiries<u8, u8> {
        Inquiries { wait: Duration::from_millis(500), wait_again: Duration::ZERO, ..Inquiries::new("PostgreSQL") }
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_asked_once_and_answers_later() {
        let inquiries = impatient();
        let (server, answers) = watch::channel(false);
        let asked = watch::Sender::new(0);

        for _ in 0..5 {
            let failure = ask(&inquiries, 1, &asked, &answers).await.unwrap_err();
            assert_eq!(failure, ServerFailure::Unreachable("PostgreSQL did not answer within 0 s".to_owned()));
        }

        assert_eq!(*asked.borrow(), 1);
        server.send_replace(true);
        while ask(&inquiries, 1, &asked, &answers).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert!(inquiries.open().is_empty());
    }

    #[tokio::test]
    async fn another_target_is_another_inquiry() {
        let inquiries = impatient();
        let (_silent, silence) = watch::channel(false);
        let (_server, answers) = watch::channel(true);
        let asked = watch::Sender::new(0);

        ask(&inquiries, 1, &asked, &silence).await.unwrap_err();

        assert_eq!(ask(&inquiries, 2, &asked, &answers).await, Ok(2));
        assert_eq!(inquiries.open().len(), 1);
    }

    #[tokio::test]
    async fn what_nobody_asks_about_any_more_is_forgotten() {
        let inquiries = impatient();
        let (_silent, silence) = watch::channel(false);
        let asked = watch::Sender::new(0);
        ask(&inquiries, 1, &asked, &silence).await.unwrap_err();
        inquiries.open()[0].asked -= KEPT;

        ask(&inquiries, 2, &asked, &silence).await.unwrap_err();

        assert_eq!(inquiries.open().iter().map(|inquiry| inquiry.target).collect::<Vec<_>>(), [2]);
    }
}
