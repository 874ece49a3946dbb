//! The operator: one EventPlatform resource becomes a running platform.

pub mod crd;
pub mod crdgen;
