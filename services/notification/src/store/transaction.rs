//! Transactions that are tried again when they lost against another one.

use std::time::Duration;

use mongodb::{
    Client, ClientSession,
    error::{Error, Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::ReadConcern,
};
use platform::mongo::is_duplicate_key;

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
    client: &'a Client,
    made: u32,
    pause: Duration,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client, made: 0, pause: PAUSE }
    }

    /// A session with a new transaction.
    pub(super) async fn begin(&mut self) -> Result<ClientSession> {
        let mut session = self.client.start_session().await?;
        session.start_transaction().read_concern(ReadConcern::snapshot()).await?;
        self.made += 1;
        Ok(session)
    }

    /// Commits what worked and gives the outcome; `None` when it is worth another attempt.
    pub(super) async fn finish<T>(&mut self, mut session: ClientSession, worked: Result<T>) -> Option<Result<T>> {
        let outcome = match worked {
            Ok(value) => commit(&mut session).await.map(|()| value),
            Err(error) => {
                // Its failure changes nothing: the server ends what nobody commits.
                session.abort_transaction().await.ok();
                Err(error)
            }
        };
        if self.made >= ATTEMPTS || !outcome.as_ref().is_err_and(lost_a_race) {
            return Some(outcome);
        }
        metrics::counter!("eventplatform_transaction_retries_total").increment(1);
        tokio::time::sleep(self.pause.mul_f64(rand::random::<f64>())).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        None
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
