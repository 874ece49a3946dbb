-- What the mock payment company knows: intents, charges, refunds, and a ledger that nothing may rewrite.

create table payment_intents (
    -- Order of creation, for lists; ids are random.
    seq bigint generated always as identity unique,
    id text primary key,
    amount bigint not null check (amount > 0),
    currency text not null check (currency ~ '^[a-z]{3}$'),
    status text not null check (status in (
        'requires_payment_method', 'requires_confirmation', 'processing', 'succeeded', 'canceled')),
    payment_method text,
    payment_method_types text[] not null,
    automatic_payment_methods boolean not null,
    capture_method text not null,
    description text,
    receipt_email text,
    metadata jsonb not null default '{}',
    booking_id text generated always as (metadata ->> 'booking_id') stored,
    client_secret text not null,
    amount_received bigint not null default 0,
    latest_charge text,
    last_payment_error jsonb,
    canceled_at timestamptz,
    cancellation_reason text,
    -- When a payment in `processing` settles, by this database's clock.
    settle_at timestamptz,
    created_at timestamptz not null default now(),
    check (amount_received = case status when 'succeeded' then amount else 0 end),
    check ((status = 'processing') = (settle_at is not null)),
    check ((status = 'canceled') = (canceled_at is not null))
);
create index payment_intents_booking on payment_intents (booking_id);
create index payment_intents_created on payment_intents (created_at);
create index payment_intents_due on payment_intents (settle_at) where settle_at is not null;

create table charges (
    id text primary key,
    payment_intent text not null references payment_intents (id),
    amount bigint not null check (amount > 0),
    amount_refunded bigint not null default 0,
    currency text not null,
    status text not null check (status in ('pending', 'succeeded', 'failed')),
    payment_method text not null,
    failure_code text,
    created_at timestamptz not null default now(),
    -- Never more back than was taken.
    constraint charges_refunds_within_amount check (
        amount_refunded between 0 and case status when 'succeeded' then amount else 0 end)
);
-- At most one capture for each intent, whatever the program does.
create unique index charges_one_capture on charges (payment_intent) where status in ('pending', 'succeeded');

create table refunds (
    seq bigint generated always as identity unique,
    id text primary key,
    payment_intent text not null references payment_intents (id),
    charge text not null references charges (id),
    amount bigint not null check (amount > 0),
    currency text not null,
    reason text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now()
);
create index refunds_payment_intent on refunds (payment_intent);

-- Money as it moved. Checkers read this, and only this.
create table ledger_entries (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('charge', 'refund')),
    payment_intent text not null references payment_intents (id),
    charge text not null references charges (id),
    refund text unique references refunds (id),
    amount bigint not null check (amount > 0),
    currency text not null,
    booking_id text,
    created_at timestamptz not null default now(),
    check ((kind = 'refund') = (refund is not null))
);
create unique index ledger_entries_one_charge on ledger_entries (payment_intent) where kind = 'charge';
create index ledger_entries_booking on ledger_entries (booking_id);
create index ledger_entries_payment_intent on ledger_entries (payment_intent);

create function refuse_ledger_change() returns trigger language plpgsql as $$
begin
    raise exception 'ledger_entries is append-only';
end
$$;
create trigger ledger_entries_append_only before update or delete or truncate on ledger_entries
    for each statement execute function refuse_ledger_change();
