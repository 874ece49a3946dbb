-- Tickets: one for each seat of a Confirmed booking, made and voided by the statement that changes the booking's status.
create table tickets (
    id integer generated always as identity primary key,
    booking_id integer not null references bookings (id),
    -- 1 to the number of the booking's seats.
    seat integer not null,
    -- The owner's name until it is changed; blank once the owner has deleted the account.
    holder_name text not null,
    state text not null default 'valid',
    -- What the code names: 122 random bits. A new one ends the code before.
    code_id uuid not null default gen_random_uuid(),
    -- Grows with every change.
    version integer not null default 1,
    checked_in_at timestamptz,
    -- What the scanner calls itself, and its name for the scan.
    device text,
    scan_id uuid,
    created_at timestamptz not null default now(),

    constraint tickets_seat_once unique (booking_id, seat),
    constraint tickets_code_once unique (code_id),
    constraint tickets_state_known check (state in ('valid', 'used', 'void')),
    constraint tickets_used_at_a_time check (state <> 'used' or checked_in_at is not null)
);

-- A scan checks one ticket in. Tickets that are not checked in cost this index nothing.
create unique index tickets_scan_once on tickets (scan_id) where scan_id is not null;

-- A trigger, not the service: replicas of an older version confirm and cancel bookings too, and no statement is added to
-- the path of a booking.
create function issue_tickets() returns trigger language plpgsql as $$
begin
    insert into tickets (booking_id, seat, holder_name)
    select new.id, seat, new.user_name from generate_series(1, new.seats) seat;
    return null;
end
$$;

create trigger bookings_issue_tickets after update of status on bookings
    for each row when (new.status = 'Confirmed' and old.status <> 'Confirmed')
    execute function issue_tickets();

create function void_tickets() returns trigger language plpgsql as $$
begin
    update tickets set state = 'void', version = version + 1 where booking_id = new.id and state <> 'void';
    return null;
end
$$;

create trigger bookings_void_tickets after update of status on bookings
    for each row when (new.status <> 'Confirmed' and old.status = 'Confirmed')
    execute function void_tickets();

-- Replicas of an older version blank the names in bookings alone.
create function forget_holder_names() returns trigger language plpgsql as $$
begin
    update tickets set holder_name = '', version = version + 1 where booking_id = new.id and holder_name <> '';
    return null;
end
$$;

create trigger bookings_forget_holder_names after update of user_name on bookings
    for each row when (new.user_name = '' and old.user_name <> '')
    execute function forget_holder_names();

-- How far a backfill has come, by id. It ends at `last_id`.
create table backfills (
    name text primary key,
    position integer not null default 0,
    last_id integer not null
);

-- Bookings that were Confirmed before the triggers. Creating the triggers has waited for every transaction that was
-- writing bookings, so that none of them is left out here.
insert into backfills (name, last_id) select 'tickets', coalesce(max(id), 0) from bookings;

-- The reconciler compares tickets with bookings.
insert into patrols (name) values ('tickets');

-- Links with which people without an account check tickets in. A link that is revoked is deleted.
create table door_links (
    id integer generated always as identity primary key,
    event_id text not null,
    -- The user who made it.
    created_by integer not null,
    -- What the organizer calls it.
    label text not null,
    token_hash bytea not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),

    constraint door_links_token_once unique (token_hash)
);

create index door_links_of_event on door_links (event_id, id desc);
create index door_links_by_expiry on door_links (expires_at);
create index door_links_by_creator on door_links (created_by);
