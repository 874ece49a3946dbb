//! The adapter for Stripe's API against stripe-mock, which checks requests against Stripe's own description of it.
//!
//! stripe-mock describes one version of the API, newer than the one that the adapter asks for, and ignores which one
//! is asked for. It knows parameters, not rules: it keeps nothing and answers with samples.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod stripe_conformance;
mod stripe_mock;
