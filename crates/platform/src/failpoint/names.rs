//! The names of all failpoints and guards. A name begins with the program it is in; those that begin with `bus`,
//! `idempotency` and `relay` are in every program that uses that part of this crate.

/// Every failpoint: between any two effects (a commit, a message, a call of a neighbour) of a path there is one.
pub const POINTS: [&str; 47] = [
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
    "booking.consumer.called_off",
    "booking.consumer.changed",
    "booking.consumer.told",
    "booking.consumer.account_deleted",
    "booking.consumer.processed",
    // Seats.
    "event.batch.written",
    "event.batch.committed",
    "event.sweeper.listed",
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

/// Every guard that a promise rests on, and that a test may take away to see that the promise is broken then.
pub const GUARDS: [&str; 18] = [
    // No more seats are held than are available.
    "event.available",
    // A reservation id takes seats once.
    "event.hold_once",
    // A released reservation is not confirmed.
    "event.released_stays_released",
    // Seats whose hold may be over are given back only if it is.
    "event.only_expired",
    // What holders of seats have to hear of an event is written with its change.
    "event.outbox",
    // A booking moves only from where it was read.
    "booking.compare_and_set",
    // A booking is its owner's.
    "booking.owner",
    // A charge has a name in the database before it moves money.
    "booking.name_before_charge",
    // An attempt is failed only when its charge is cancelled at the gateway.
    "booking.fence",
    // Seats are sold before a booking is called confirmed.
    "booking.seats_before_confirmed",
    // What a holder has to be told is written with the change.
    "booking.outbox",
    // The same Idempotency-Key is the same operation.
    "idempotency.same_operation",
    // A message is acknowledged after its work is committed.
    "bus.ack_after_work",
    // A message counts as published when RabbitMQ has confirmed it.
    "bus.publisher_confirms",
    // A message id is stored once.
    "notification.once",
    // Notifications are their reader's.
    "notification.owner",
    // The answer that is kept of a registration goes with the account.
    "user.forget_answers",
    // One payment of a booking is under way or has been made.
    "booking.one_live_payment",
];
