-- Bookings. The first six columns and their types are the platform's public schema; the rest is ours.
-- `next_check_at` says when a sweeper looks at a row next, `lease_until` keeps it from looking while somebody else works.
create table bookings (
    id integer generated always as identity primary key,
    user_id integer not null,
    event_id text not null,
    status text not null default 'Pending',
    payment_status text not null default 'Unpaid',
    created_at timestamp not null default (now() at time zone 'utc'),

    seats integer not null,
    -- Per seat, minor units. This and what follows up to expires_at is null until event-service holds the seats.
    price bigint,
    amount bigint,
    currency text,
    event_title text,
    event_starts_at timestamptz,
    organizer_id integer,
    -- When the hold ends, by event-service's clock; null while it is not known whether the seats are held.
    expires_at timestamptz,

    -- The reservation in event-service. A payment that comes after expiry gets a new one, stored here before it is used.
    reservation_id uuid not null,
    -- The request that made the booking: a resumed request finds its own.
    operation_id uuid not null,
    user_name text not null,
    user_email text not null,
    -- The newest version of the event that this row has been told of by a message.
    event_version bigint not null default 0,

    rejection_code text,
    rejection_detail text,
    cancel_reason text,
    -- The seats have still to be given back to event-service.
    release_pending boolean not null default false,

    lease_until timestamptz,
    next_check_at timestamptz not null default now(),
    checks integer not null default 0,
    updated_at timestamptz not null default now(),

    constraint bookings_reservation_once unique (reservation_id),
    constraint bookings_operation_once unique (operation_id),
    constraint bookings_status_known check (status in ('Pending', 'Confirmed', 'Rejected', 'Cancelled', 'Expired')),
    constraint bookings_payment_status_known check (payment_status in ('Unpaid', 'Paid', 'Failed', 'Refunded')),
    constraint bookings_cancel_reason_known check (cancel_reason in ('by_attendee', 'event_cancelled')),
    constraint bookings_seats_positive check (seats between 1 and 100),
    constraint bookings_amount_fits check (amount >= 0 and amount = price * seats),
    constraint bookings_hold_complete check (
        expires_at is null
        or (price is not null and amount is not null and currency is not null
            and event_title is not null and event_starts_at is not null and organizer_id is not null)
    ),
    -- No seat without payment.
    constraint bookings_confirmed_is_paid check (status <> 'Confirmed' or payment_status = 'Paid')
);

create index bookings_of_user on bookings (user_id, id desc);
create index bookings_of_event on bookings (event_id, status);
create index bookings_due on bookings (next_check_at) where status = 'Pending' or release_pending;

-- Attempts to pay. Each has a gateway key of its own and is written before the gateway is called.
create table payments (
    id integer generated always as identity primary key,
    booking_id integer not null references bookings (id),
    operation_id uuid not null,
    gateway_key uuid not null,
    -- The gateway's name for the charge; stored before it is confirmed, so without one nothing was charged.
    gateway_id text,
    payment_method text not null,
    state text not null default 'started',
    failure_code text,
    failure_message text,
    amount bigint not null,
    currency text not null,
    -- When the booking took notice of the money: seats confirmed, or a refund ordered.
    settled_at timestamptz,
    lease_until timestamptz,
    next_check_at timestamptz not null default now(),
    checks integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint payments_gateway_key_once unique (gateway_key),
    constraint payments_gateway_id_once unique (gateway_id),
    constraint payments_state_known check (state in ('started', 'succeeded', 'failed', 'refunded')),
    constraint payments_amount_positive check (amount > 0),
    constraint payments_charged_is_named check (state in ('started', 'failed') or gateway_id is not null)
);

create index payments_of_booking on payments (booking_id, id desc);
-- One unresolved or captured attempt per booking.
create unique index payments_one_live on payments (booking_id) where state in ('started', 'succeeded');
-- A request tries again under its operation id only when its last attempt failed before anything could be charged.
create unique index payments_operation_once on payments (operation_id)
    where failure_code is distinct from 'payment_failed_before_charge';
create index payments_due on payments (next_check_at)
    where state = 'started' or (state = 'succeeded' and settled_at is null);

-- Refunds are records of their own: ordered in the transaction that ends the booking, carried out afterwards.
create table refunds (
    id integer generated always as identity primary key,
    payment_id integer not null references payments (id),
    booking_id integer not null references bookings (id),
    amount bigint not null,
    currency text not null,
    state text not null default 'pending',
    reason text not null,
    gateway_refund_id text,
    -- Grows when the gateway answered that it failed: the same idempotency key would only repeat that answer.
    key_version integer not null default 0,
    lease_until timestamptz,
    next_check_at timestamptz not null default now(),
    checks integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint refunds_one_per_payment unique (payment_id),
    constraint refunds_state_known check (state in ('pending', 'succeeded')),
    constraint refunds_reason_known check (reason in ('by_attendee', 'event_cancelled', 'seats_lost')),
    constraint refunds_amount_positive check (amount > 0)
);

create index refunds_of_booking on refunds (booking_id);
create index refunds_due on refunds (next_check_at) where state = 'pending';

-- Messages to publish, written in the transaction of what they tell. The id becomes the AMQP message id.
create table outbox (
    id uuid primary key,
    message jsonb not null,
    traceparent text,
    created_at timestamptz not null default now(),
    lease_until timestamptz,
    published_at timestamptz
);

create index outbox_unpublished on outbox (created_at) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;

-- Messages that were consumed to the end.
create table processed_messages (
    message_id uuid primary key,
    processed_at timestamptz not null default now()
);

-- Requests under an Idempotency-Key, as platform::idempotency expects them.
create table idempotency_keys (
    user_id integer not null,
    method text not null,
    path text not null,
    key text not null,
    fingerprint bytea not null,
    operation_id uuid not null,
    lease_token uuid,
    lease_until timestamptz not null,
    status smallint,
    body bytea,
    created_at timestamptz not null default now(),
    primary key (user_id, method, path, key)
);

create index idempotency_keys_by_age on idempotency_keys (created_at);
