//! argon2id by a bounded number of workers that reuse their memory.
//!
//! Every hash fills 19 MiB. If each login allocated that anew, the allocator would keep hundreds of megabytes. So one
//! buffer per worker is kept while there are logins, and freed after an idle minute.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version, password_hash::phc::PasswordHash};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use platform::{ApiError, ApiResult};
use subtle::ConstantTimeEq;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::domain::{Password, Refusal};

/// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
const PARAMS: Params = Params::DEFAULT;
/// Passwords that may wait or be hashed at once; more are refused. At about 50 per second, the last one waits 10 s.
const QUEUE_LIMIT: usize = 512;
/// Memory is freed after this time without a password.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Verified for users who do not exist, so that they take the same time. No known password matches it.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$bm8gcGFzc3dvcmQgaGFzaGVzIHRvIHRoaXMgdmFsdWU";

/// Capacity of a buffer; a hash touches only 19 MiB of it. glibc always unmaps a freed allocation of more than 32 MiB,
/// but would keep a smaller one from the second time on.
const RESERVED_BLOCKS: usize = 33 * 1024;

type Memory = Vec<Block>;

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone)]
pub struct PasswordHasher {
    queue: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    memory: Arc<Mutex<Pool>>,
}

struct Pool {
    free: Vec<Memory>,
    last_use: Instant,
}

impl PasswordHasher {
    /// Hashes at most `workers` passwords at once.
    pub fn new(workers: u32) -> Self {
        let pool = Pool { free: Vec::new(), last_use: Instant::now() };
        Self {
            queue: Arc::new(Semaphore::new(QUEUE_LIMIT)),
            workers: Arc::new(Semaphore::new(workers as usize)),
            memory: Arc::new(Mutex::new(pool)),
        }
    }

    /// The PHC string to store. 429 `hashing_overloaded` when too many wait.
    pub async fn hash(&self, password: Password) -> ApiResult<String> {
        self.worker().await?.hash(password).await
    }

    /// Waits for a worker. 429 `hashing_overloaded` when too many wait.
    pub async fn worker(&self) -> ApiResult<Worker> {
        let queued = self.queue.clone().try_acquire_owned().map_err(|_| Refusal::HashingOverloaded)?;
        let worker = self.workers.clone().acquire_owned().await.map_err(anyhow::Error::new)?;
        Ok(Worker { permits: Arc::new((queued, worker)), memory: self.memory.clone() })
    }

    /// Frees the memory if no password came for a minute.
    pub fn free_idle_memory(&self) {
        let mut pool = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.last_use.elapsed() >= IDLE_TIMEOUT {
            pool.free = Vec::new();
        }
    }
}

/// Exclusive use of a worker, until this is dropped and its last hash is done.
pub struct Worker {
    permits: Arc<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    memory: Arc<Mutex<Pool>>,
}

impl Worker {
    /// The PHC string to store.
    pub async fn hash(&self, password: Password) -> ApiResult<String> {
        self.run(move |memory| hash(&password, memory)).await
    }

    /// Whether the password matches the stored PHC string. Without one it never does, after the same time.
    pub async fn verify(&self, password: Password, stored: Option<String>) -> ApiResult<bool> {
        self.run(move |memory| {
            let matches = verify(&password, stored.as_deref().unwrap_or(DUMMY_HASH), memory)?;
            Ok(matches & stored.is_some())
        })
        .await
    }

    async fn run<T, F>(&self, job: F) -> ApiResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Memory) -> anyhow::Result<T> + Send + 'static,
    {
        let (permits, pool) = (self.permits.clone(), self.memory.clone());
        let task = tokio::task::spawn_blocking(move || {
            // Although the caller may be gone, the worker is busy until its work is done.
            let _permits = permits;
            let start = Instant::now();
            let mut memory = take(&pool);
            let result = job(&mut memory);
            put_back(&pool, memory);
            metrics::histogram!("eventplatform_password_hash_seconds").record(start.elapsed().as_secs_f64());
            result
        });
        task.await.map_err(anyhow::Error::new)?.map_err(ApiError::internal)
    }
}

/// Whether a stored PHC string has other parameters than the current ones.
pub fn is_outdated(stored: &str) -> bool {
    !stored.starts_with(&phc_prefix())
}

fn phc_prefix() -> String {
    format!("$argon2id$v=19$m={},t={},p={}$", PARAMS.m_cost(), PARAMS.t_cost(), PARAMS.p_cost())
}

fn take(pool: &Mutex<Pool>) -> Memory {
    pool.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .free
        .pop()
        .unwrap_or_else(|| Memory::with_capacity(RESERVED_BLOCKS))
}

fn put_back(pool: &Mutex<Pool>, memory: Memory) {
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    pool.free.push(memory);
    pool.last_use = Instant::now();
}

fn hash(password: &Password, memory: &mut Memory) -> anyhow::Result<String> {
    let salt = rand::random::<[u8; 16]>();
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2id(PARAMS, password, &salt, &mut out, memory)?;
    Ok(format!("{}{}${}", phc_prefix(), STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out)))
}

fn verify(password: &Password, stored: &str, memory: &mut Memory) -> anyhow::Result<bool> {
    let stored = PasswordHash::new(stored).map_err(|error| anyhow!("stored password hash: {error}"))?;
    let params = Params::try_from(&stored).map_err(|error| anyhow!("stored password hash: {error}"))?;
    let (salt, expected) = stored.salt.zip(stored.hash).context("stored password hash: incomplete")?;
    let mut out = vec![0; expected.len()];
    argon2id(params, password, salt.as_ref(), &mut out, memory)?;
    Ok(out.ct_eq(expected.as_bytes()).into())
}

fn argon2id(
    params: Params,
    password: &Password,
    salt: &[u8],
    out: &mut [u8],
    memory: &mut Memory,
) -> anyhow::Result<()> {
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::new());
    }
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, out, memory)
        .map_err(|error| anyhow!("argon2id: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_matches_only_its_password() {
        let mut memory = Memory::new();

        let stored = hash(&Password::unchecked("correct horse"), &mut memory).unwrap();

        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&Password::unchecked("correct horse"), &stored, &mut memory).unwrap());
        assert!(!verify(&Password::unchecked("correct hors"), &stored, &mut memory).unwrap());
    }

    #[test]
    fn the_dummy_hash_costs_as_much_as_a_real_one() {
        let dummy = PasswordHash::new(DUMMY_HASH).unwrap();

        assert_eq!(Params::try_from(&dummy).unwrap().m_cost(), PARAMS.m_cost());
        assert_eq!(Params::try_from(&dummy).unwrap().t_cost(), PARAMS.t_cost());
        assert!(!verify(&Password::unchecked("nobody"), DUMMY_HASH, &mut Memory::new()).unwrap());
    }

    #[test]
    fn a_hash_of_other_parameters_is_outdated() {
        assert!(!is_outdated(&hash(&Password::unchecked("correct horse"), &mut Memory::new()).unwrap()));
        assert!(is_outdated("$argon2id$v=19$m=8192,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$bm8gcGFzc3dvcmQ"));
        assert!(is_outdated("$argon2i$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$bm8gcGFzc3dvcmQ"));
    }

    #[tokio::test]
    async fn there_are_no_more_buffers_than_workers() {
        let hasher = PasswordHasher::new(2);

        let jobs = (0..8).map(|_| async { hasher.worker().await?.verify(Password::unchecked("x"), None).await });
        let answers: Vec<ApiResult<bool>> = futures::future::join_all(jobs).await;

        assert!(answers.into_iter().all(|answer| !answer.unwrap()));
        assert!((1..=2).contains(&hasher.memory.lock().unwrap().free.len()));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_immediately() {
        let hasher = PasswordHasher::new(1);
        let _all = hasher.queue.clone().acquire_many_owned(u32::try_from(QUEUE_LIMIT).unwrap()).await.unwrap();

        let refused = hasher.worker().await.err().unwrap();

        assert_eq!((refused.status().as_u16(), refused.code()), (429, "hashing_overloaded"));
    }
}
