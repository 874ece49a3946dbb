//! argon2id, a few passwords at a time, in memory that is used again.
//!
//! Every hash fills 19 MiB. Allocating that per login lets the allocator keep hundreds of megabytes, so as many blocks
//! as there are workers are kept while logins come, and given back after a quiet minute.

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

use crate::{domain::Password, error::Refusal};

/// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
const PARAMS: Params = Params::DEFAULT;
/// Passwords that may wait or be hashed at once; more are refused. At some 50 a second the last one waits 10 s.
const QUEUE: usize = 512;
/// Memory unused for so long is given back.
const IDLE: Duration = Duration::from_secs(60);
/// Verified in place of the hash that an unknown user does not have, so that both take the same time. Nobody knows a
/// password of it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$bm8gcGFzc3dvcmQgaGFzaGVzIHRvIHRoaXMgdmFsdWU";

/// What is reserved for one hash, of which it touches 19 MiB. glibc maps requests over 32 MiB and unmaps them when they
/// are freed; the second time that a smaller one is freed, it would keep it.
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
    /// A hasher of at most `workers` passwords at once.
    pub fn new(workers: u32) -> Self {
        let pool = Pool { free: Vec::new(), last_use: Instant::now() };
        Self {
            queue: Arc::new(Semaphore::new(QUEUE)),
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
        let place = self.queue.clone().try_acquire_owned().map_err(|_| Refusal::HashingOverloaded)?;
        let worker = self.workers.clone().acquire_owned().await.map_err(anyhow::Error::new)?;
        Ok(Worker { held: Arc::new((place, worker)), memory: self.memory.clone() })
    }

    /// Gives the memory back if no password came for a minute.
    pub fn release_idle(&self) {
        let mut pool = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.last_use.elapsed() >= IDLE {
            pool.free = Vec::new();
        }
    }
}

/// Exclusive use of a worker, until this is dropped and its work is done.
pub struct Worker {
    held: Arc<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    memory: Arc<Mutex<Pool>>,
}

impl Worker {
    /// The PHC string to store.
    pub async fn hash(&self, password: Password) -> ApiResult<String> {
        self.run(move |memory| hash(&password, memory)).await
    }

    /// Whether the password belongs to the stored PHC string; without one it never does, which takes as long.
    pub async fn verify(&self, password: Password, stored: Option<String>) -> ApiResult<bool> {
        self.run(move |memory| {
            let fits = verify(&password, stored.as_deref().unwrap_or(NOBODY), memory)?;
            Ok(fits & stored.is_some())
        })
        .await
    }

    async fn run<T, F>(&self, job: F) -> ApiResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Memory) -> anyhow::Result<T> + Send + 'static,
    {
        let (held, pool) = (self.held.clone(), self.memory.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _held_to_the_end = held;
            let began = Instant::now();
            let mut memory = take(&pool);
            let result = job(&mut memory);
            give_back(&pool, memory);
            metrics::histogram!("eventplatform_password_hash_seconds").record(began.elapsed().as_secs_f64());
            result
        });
        task.await.map_err(anyhow::Error::new)?.map_err(ApiError::internal)
    }
}

/// Whether a stored PHC string was made with other parameters than the present ones.
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

fn give_back(pool: &Mutex<Pool>, memory: Memory) {
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
    fn a_hash_fits_its_password_alone() {
        let mut memory = Memory::new();

        let stored = hash(&Password::typed("correct horse"), &mut memory).unwrap();

        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&Password::typed("correct horse"), &stored, &mut memory).unwrap());
        assert!(!verify(&Password::typed("correct hors"), &stored, &mut memory).unwrap());
    }

    #[test]
    fn the_hash_of_nobody_costs_what_a_real_one_does() {
        let nobody = PasswordHash::new(NOBODY).unwrap();

        assert_eq!(Params::try_from(&nobody).unwrap().m_cost(), PARAMS.m_cost());
        assert_eq!(Params::try_from(&nobody).unwrap().t_cost(), PARAMS.t_cost());
        assert!(!verify(&Password::typed("nobody"), NOBODY, &mut Memory::new()).unwrap());
    }

    #[test]
    fn a_hash_of_other_parameters_is_outdated() {
        assert!(!is_outdated(&hash(&Password::typed("correct horse"), &mut Memory::new()).unwrap()));
        assert!(is_outdated("$argon2id$v=19$m=8192,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$bm8gcGFzc3dvcmQ"));
        assert!(is_outdated("$argon2i$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$bm8gcGFzc3dvcmQ"));
    }

    #[tokio::test]
    async fn memory_is_shared_by_as_many_as_work_at_once() {
        let hasher = PasswordHasher::new(2);

        let jobs = (0..8).map(|_| async { hasher.worker().await?.verify(Password::typed("x"), None).await });
        let answers: Vec<ApiResult<bool>> = futures::future::join_all(jobs).await;

        assert!(answers.into_iter().all(|answer| !answer.unwrap()));
        assert!((1..=2).contains(&hasher.memory.lock().unwrap().free.len()));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let hasher = PasswordHasher::new(1);
        let _everything = hasher.queue.clone().acquire_many_owned(u32::try_from(QUEUE).unwrap()).await.unwrap();

        let refused = hasher.worker().await.err().unwrap();

        assert_eq!((refused.status().as_u16(), refused.code()), (429, "hashing_overloaded"));
    }
}
