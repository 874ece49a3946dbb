-- What the account page shows, and counters for limits of every kind.

-- Null until a language was chosen.
alter table users add column language text constraint users_language_check check (language in ('en', 'de'));

-- `User-Agent` of the login, so that people recognize their sessions.
alter table sessions add column user_agent text;

-- Sessions that ended lately are published to every service.
create index sessions_revoked_at_idx on sessions (revoked_at) where revoked_at is not null;

-- When the role last changed: tokens from before carry another one.
alter table users add column role_changed_at timestamptz;
create index users_role_changed_at_idx on users (role_changed_at) where role_changed_at is not null;

-- A trigger, so that no way of changing a role goes unnoticed: not an older replica's, and not a statement by hand.
create function note_role_change() returns trigger language plpgsql as $$
begin
    new.role_changed_at := now();
    return new;
end
$$;

create trigger users_note_role_change before update on users
    for each row when (old.role is distinct from new.role) execute function note_role_change();

-- The browsers and addresses that a user logged in from: whoever guesses from elsewhere does not lock them out.
create table known_clients (
    user_id integer not null references users (id) on delete cascade,
    -- An HMAC of the device cookie or of the client's address.
    key bytea not null,
    last_seen_at timestamptz not null default now(),
    primary key (user_id, key)
);

create index known_clients_last_seen_at_idx on known_clients (last_seen_at);

-- How much of each limit is used up within its present window. Takes the place of `login_failures`, which replicas of
-- the version before still use; a later migration drops it.
create table rate_limits (
    -- A hash of what the limit counts: people type passwords into the wrong field.
    key bytea primary key,
    used integer not null,
    window_ends_at timestamptz not null
);

create index rate_limits_window_ends_at_idx on rate_limits (window_ends_at);
