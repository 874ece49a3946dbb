//! Transactions that are tried again when they lost against another one.

use std::time::Duration;

use mongodb::{
    ClientSession,
    error::{Error, Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::ReadConcern,
};
use platform::mongo::{is_contended, is_duplicate_key, sessions::Sessions};
use tokio::sync::SemaphorePermit;

/// How often the whole transaction is tried.
const ATTEMPTS: u32 = 10;
/// How often a commit whose answer was lost is asked for.
const COMMITS: u32 = 3;
/// The first pause is up to this long; each later one up to twice the one before.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The attempts at one transaction: [`Attempts::begin`] and [`Attempts::finish`] in turns, until there is an outcome.
///
/// Conflicts are retried a bounded number of times, with jitter. A duplicate key counts as a conflict: the winner of a
/// race to insert is seen by the next attempt.
pub(super) struct Attempts<'a> {
    sessions: &'a Sessions,
    made: u32,
    pause: Duration,
}

/// One attempt: its session, and its turn among the transactions of this replica.
pub(super) struct Turn<'a> {
    pub(super) session: ClientSession,
    _permit: SemaphorePermit<'a>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(sessions: &'a Sessions) -> Self {
        Self { sessions, made: 0, pause: PAUSE }
    }

    /// A session with a new transaction.
    pub(super) async fn begin(&mut self) -> Result<Turn<'a>> {
        let permit = self.sessions.permit().await;
        let mut session = self.sessions.acquire().await?;
        if let Err(error) = session.start_transaction().read_concern(ReadConcern::snapshot()).await {
            self.sessions.abandon(session);
            return Err(error);
        }
        self.made += 1;
        Ok(Turn { session, _permit: permit })
    }

    /// Commits what worked and gives the outcome; `None` when it is worth another attempt.
    pub(super) async fn finish<T>(&mut self, turn: Turn<'a>, worked: Result<T>) -> Option<Result<T>> {
        let outcome = self.end(turn, worked).await;
        if self.made >= ATTEMPTS || !outcome.as_ref().is_err_and(lost_a_race) {
            return Some(outcome);
        }
        metrics::counter!("eventplatform_transaction_retries_total").increment(1);
        tokio::time::sleep(self.pause.mul_f64(rand::random::<f64>())).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        None
    }

    /// Commits or aborts. The session is kept unless its transaction may still be open on the server.
    async fn end<T>(&self, turn: Turn<'a>, worked: Result<T>) -> Result<T> {
        let mut session = turn.session;
        let outcome = match worked {
            Ok(value) => commit(&mut session).await.map(|()| value),
            Err(error) => {
                // Its failure changes nothing: the server ends what nobody commits.
                session.abort_transaction().await.ok();
                Err(error)
            }
        };
        match &outcome {
            Err(error) if !is_contended(error) => self.sessions.abandon(session),
            _ => self.sessions.release(session),
        }
        outcome
    }
}

async fn commit(session: &mut ClientSession) -> Result<()> {
    for _ in 1..COMMITS {
        match session.commit_transaction().await {
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {}
            outcome => return outcome,
        }
    }
    session.commit_transaction().await
}

fn lost_a_race(error: &Error) -> bool {
    // A server that cannot be found is no race: who waits for it should not hold a message or a request meanwhile.
    let absent = matches!(error.kind.as_ref(), mongodb::error::ErrorKind::ServerSelection { .. });
    !absent && (error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_duplicate_key(error))
}
