//! The service's router on a real PostgreSQL (and RabbitMQ), with programmable fakes of the services that it calls.
#![expect(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod bookings;
mod cancellations;
mod crashes;
mod deletions;
mod door;
mod door_links;
mod expiry;
mod helpers;
mod limits;
mod messages;
mod neighbours;
mod organizers;
mod payments;
mod reconciliation;
mod refunds;
mod schema;
mod tickets;
mod upgrade;
mod webhooks;
