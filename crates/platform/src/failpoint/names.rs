//! The names of all failpoints. A name begins with the program it is in; those that begin with `bus`,
//! `idempotency` and `relay` are in every program that uses that part of this crate.

/// Every failpoint: between any two effects (a commit, a message, a call of a neighbour) of a path there is one.
pub const POINTS: [&str; 49] = [
    // A booking.
    "booking.hold.written",
    "booking.hold.held",
    "booking.hold.stored",
    "booking.hold.orphaned",
    "booking.hold.rejected",
    "booking.hold.given_up",
    // A payment.
    "booking.pay.written",
    "booking.pay.created",
    "booking.pay.charged",
    "booking.pay.fenced",
    "booking.pay.failed",
    "booking.settle.sold",
    "booking.settle.renewed",
    "booking.settle.held_again",
    "booking.settle.stored",
    "booking.settle.lost",
    "booking.refund.asked",
    "booking.refund.renewed",
    "booking.refund.stored",
    "booking.webhook.noticed",
    // The end of a booking.
    "booking.expire.released",
    "booking.expire.stored",
    "booking.release.released",
    "booking.release.stored",
    "booking.cancel.stored",
    "booking.account.forgotten",
    // Sweepers and consumers.
    "booking.sweeper.claimed",
    "booking.consumer.event_cancelled",
    "booking.consumer.changed",
    "booking.consumer.notified",
    "booking.consumer.account_deleted",
    "booking.consumer.processed",
    // Seats.
    "event.batch.written",
    "event.batch.committed",
    "event.sweeper.listed",
    // The end of an organizer's events.
    "event.consumer.account_deleted",
    "event.sweeper.events_cancelled",
    // Notifications.
    "notification.store.counted",
    "notification.store.inserted",
    "notification.store.committed",
    // What several programs do alike.
    "idempotency.claimed",
    "idempotency.worked",
    "idempotency.stored",
    "bus.received",
    "bus.handled",
    "bus.sent",
    "relay.claimed",
    "relay.published",
    "relay.marked",
];
