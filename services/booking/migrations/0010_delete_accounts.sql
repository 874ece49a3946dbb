-- Accounts that were deleted: their bookings end, their names and addresses are blanked, and they book nothing any more.
-- Rows stay, so that a message that is delivered again, or a token that is still accepted somewhere, changes nothing.
create table account_deletions (
    user_id integer primary key,
    -- When the owner asked for it, by user-service's clock.
    deleted_at timestamptz not null,
    -- When this service heard of it, by this database's clock.
    received_at timestamptz not null default now(),
    lease_until timestamptz,
    next_check_at timestamptz not null default now(),
    checks integer not null default 0,
    -- When nothing was open any more and nothing held the name or the address.
    finished_at timestamptz
);

create index account_deletions_due on account_deletions (next_check_at) where finished_at is null;
