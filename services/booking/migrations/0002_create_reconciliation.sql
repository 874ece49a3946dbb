-- What the reconciler compares with the neighbours, how far it came, and what it found.

-- One row a comparison. Claiming a round moves `next_round_at`, so that of several replicas one does it.
create table patrols (
    name text primary key,
    -- What the last round ended at; null: the next round begins anew.
    position text,
    cycle_began_at timestamptz not null default now(),
    round_ended_at timestamptz not null default now(),
    next_round_at timestamptz not null default now()
);

insert into patrols (name) values ('reservations'), ('charges'), ('messages');

-- What differs and does not heal by itself. A finding that a whole cycle did not see again is removed.
create table findings (
    kind text not null,
    -- The reservation, the charge or the booking.
    subject text not null,
    patrol text not null references patrols (name),
    booking_id integer,
    found_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    primary key (kind, subject)
);

-- Messages are compared with the bookings that they tell of.
create index outbox_of_booking on outbox ((message ->> 'booking_id'));
