//! Snapshot transactions, retried on conflicts.

use std::time::Duration;

use futures::future::BoxFuture;
use mongodb::{
    ClientSession,
    error::{Error, ErrorKind, Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::ReadConcern,
};
use platform::mongo::{is_contended, is_duplicate_key};

use super::Store;

const MAX_ATTEMPTS: u32 = 10;
/// Commits of one attempt: a commit is repeated while its outcome is unknown.
const MAX_COMMITS: u32 = 3;
/// The first pause is at most this long. The maximum doubles with each attempt.
const PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_millis(500);

impl Store {
    /// Runs `work` with `args` in a transaction and commits it. Makes up to [`MAX_ATTEMPTS`] attempts if there are
    /// conflicts, with jitter between them.
    ///
    /// A duplicate key is a conflict too: the next attempt sees the document of the faster insert. Must not be dropped
    /// midway.
    pub(super) async fn transaction<A, T, W>(&self, args: &A, work: W) -> Result<T>
    where
        W: for<'a> Fn(&'a Self, &'a mut ClientSession, &'a A) -> BoxFuture<'a, Result<T>>,
    {
        let mut max_pause = PAUSE;
        for _ in 1..MAX_ATTEMPTS {
            match self.attempt(args, &work).await {
                Err(error) if is_conflict(&error) => {}
                result => return result,
            }
            metrics::counter!("eventplatform_transaction_retries_total").increment(1);
            tokio::time::sleep(max_pause.mul_f64(rand::random::<f64>())).await;
            max_pause = (max_pause * 2).min(MAX_PAUSE);
        }
        self.attempt(args, &work).await
    }

    async fn attempt<A, T, W>(&self, args: &A, work: &W) -> Result<T>
    where
        W: for<'a> Fn(&'a Self, &'a mut ClientSession, &'a A) -> BoxFuture<'a, Result<T>>,
    {
        let _permit = self.sessions.permit().await;
        let mut session = self.sessions.acquire().await?;
        if let Err(error) = session.start_transaction().read_concern(ReadConcern::snapshot()).await {
            self.sessions.abandon(session);
            return Err(error);
        }
        let result = match work(self, &mut session, args).await {
            Ok(value) => commit(&mut session).await.map(|()| value),
            Err(error) => {
                // If this fails too, the server aborts the transaction when it times out.
                session.abort_transaction().await.ok();
                Err(error)
            }
        };
        match &result {
            // The transaction may still be open on the server.
            Err(error) if !is_contended(error) => self.sessions.abandon(session),
            _ => self.sessions.release(session),
        }
        result
    }
}

async fn commit(session: &mut ClientSession) -> Result<()> {
    for _ in 1..MAX_COMMITS {
        match session.commit_transaction().await {
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {}
            result => return result,
        }
    }
    session.commit_transaction().await
}

fn is_conflict(error: &Error) -> bool {
    // An unreachable server is no conflict: retrying would hold up the message or the request.
    let unreachable = matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. });
    !unreachable && (error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_duplicate_key(error))
}
