-- Accounts that their owners deleted, and the messages that tell the other services. Replicas of the version before take
-- a deleted account for a disabled one.

-- Null until the account was deleted. The row stays, because other services keep rows under its id.
alter table users add column deleted_at timestamptz;

-- A profile change or an admin's change that was under way while the account was deleted must not bring anything back.
alter table users add constraint users_deleted_check check (
    deleted_at is null
    or (email like '%@deleted.invalid' and name = '' and password_hash = '' and role = 'attendee'
        and status = 'disabled' and requested_role is null and language is null)
);

-- Messages to be published; see crates/platform/src/outbox/postgres.rs.
create table outbox (
    id uuid primary key,
    message jsonb not null,
    traceparent text,
    created_at timestamptz not null default now(),
    lease_until timestamptz,
    attempts integer not null default 0,
    published_at timestamptz
);

create index outbox_due on outbox (attempts, created_at) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;
