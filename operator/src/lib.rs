//! The operator: one EventPlatform resource becomes a running platform.
//!
//! - [`crd`]: the resource and its rules; [`crdgen`]: its definition as YAML
//! - [`controller`]: `reconcile` (dereference → validate → build → apply → status) and the error policy
//! - [`dereference`]: every read; [`validate`]: what the API server cannot check
//! - [`blueprint`]: what a platform is built from
//! - [`build`]: every object of a platform, pure; [`program`]: the six programs; [`credentials`]: the generated passwords and keys
//! - [`stages`]: the order in which a plan is applied; [`servers`]: logins on PostgreSQL, MongoDB and RabbitMQ
//! - [`apply`]: every write, only where it changes something; [`drift`]: what counts as a change
//! - [`rollout`]: how far a workload is; [`status`]: conditions; [`error`]: what can go wrong
//! - [`names`]: what databases are called on servers that platforms share
//! - [`versions`]: images of the servers, and which steps between them are taken
//! - [`resource`]: kinds, names, labels and ownership of objects; [`quantity`]: Kubernetes quantities
//! - [`run`]: watches and leader election; [`admin`]: health and metrics; [`settings`]: the command line
//! - [`install`]: `apply` and `wait`, for the chart

pub mod admin;
pub mod apply;
pub mod blueprint;
pub mod build;
pub mod controller;
pub mod crd;
pub mod crdgen;
pub mod credentials;
pub mod dereference;
pub mod drift;
pub mod error;
pub mod install;
pub mod names;
pub mod program;
pub mod quantity;
pub mod resource;
pub mod rollout;
pub mod run;
pub mod servers;
pub mod settings;
pub mod stages;
pub mod status;
pub mod validate;
pub mod versions;
