-- Webhooks on their way, answers kept for idempotent requests, and the misbehaviour that was ordered.

create table events (
    seq bigint generated always as identity unique,
    id text primary key,
    type text not null,
    payment_intent text not null references payment_intents (id),
    booking_id text,
    -- The exact bytes of every delivery.
    body text not null,
    created_at timestamptz not null default now(),
    -- When it is next to be sent; whoever claims it moves this past the claim's lease.
    due_at timestamptz not null default now(),
    attempts integer not null default 0,
    -- The misbehaviour that this event met; an event meets one at most.
    fault text,
    -- Waits for a later event of the same intent to be delivered first.
    held_back boolean not null default false,
    -- When it was delivered, or dropped on purpose.
    finished_at timestamptz
);
create index events_due on events (due_at) where finished_at is null;
create index events_payment_intent on events (payment_intent);

-- A row is written and finished in the transaction that does the work, so a key is never left half done: while the
-- transaction runs, others with the same key wait at the primary key; when it is interrupted, nothing remains.
create table idempotency_keys (
    key text primary key,
    fingerprint bytea not null,
    request_id text not null,
    status smallint,
    body text,
    created_at timestamptz not null default now()
);
create index idempotency_keys_created on idempotency_keys (created_at);

create table fault_rules (
    id bigint generated always as identity primary key,
    rule jsonb not null,
    -- How often it still applies; null is for ever.
    remaining integer check (remaining >= 0)
);
