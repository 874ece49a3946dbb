//! Entities and rules without I/O.
//!
//! - [`user`]: users, registrations and changes; [`email`], [`password`]: values that parse
//! - [`session`]: sessions and lifetimes; [`device`]: browser and operating system of a session
//! - [`limits`]: limits on password attempts and registrations; [`refusal`]: why a request is refused

pub mod device;
pub mod email;
pub mod limits;
pub mod password;
pub mod refusal;
pub mod session;
pub mod user;

pub use self::{
    email::Email,
    limits::{AttemptLimits, ClientKeys, KnownClient, RateLimit},
    password::Password,
    refusal::Refusal,
    session::Session,
    user::{AdminChange, Credentials, Name, NewUser, ProfileChange, Status, StatusFilter, User, UserChange},
};
