//! The operator: one EventPlatform resource becomes a running platform.
//!
//! - [`crd`]: the resource and its rules; [`crdgen`]: its definition as YAML
//! - [`settings`]: what the operator is told at its start
//! - [`controller`]: dereference → validate → build → apply → status; [`advance`]: the stages and their gates
//! - [`observe`]: everything that is read; [`validate`]: what the API server cannot judge
//! - [`build`]: every object of a platform, pure; [`credentials`]: what is made up once
//! - [`servers`]: logging in to PostgreSQL, MongoDB and RabbitMQ
//! - [`apply`]: writes, and only those that change something; [`drift`]: what is no change
//! - [`status`]: conditions; [`problem`]: what can go wrong
//! - [`run`]: watches, leader election, health and metrics; [`install`]: the chart's Job and test
//! - [`child`]: names, labels and ownership of objects; [`quantity`]: amounts as Kubernetes writes them

pub mod advance;
pub mod apply;
pub mod build;
pub mod child;
pub mod controller;
pub mod crd;
pub mod crdgen;
pub mod credentials;
pub mod drift;
pub mod install;
pub mod observe;
pub mod problem;
pub mod quantity;
pub mod run;
pub mod servers;
pub mod settings;
pub mod status;
pub mod validate;
