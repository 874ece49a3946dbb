-- People, their sessions, and what guards their passwords.

create table users (
    id integer primary key generated always as identity,
    -- As it was typed; compared without regard to case.
    email text not null,
    name text not null,
    role text not null constraint users_role_check check (role in ('attendee', 'organizer', 'admin')),
    -- The role that was asked for at registration and awaits an admin.
    requested_role text constraint users_requested_role_check check (requested_role in ('organizer')),
    status text not null default 'active' constraint users_status_check check (status in ('active', 'disabled')),
    -- A PHC string (argon2id).
    password_hash text not null,
    -- The operation that made this row, so that a registration that is resumed finds what it has made.
    registration_id uuid not null constraint users_registration_id_key unique,
    created_at timestamptz not null default now()
);

create unique index users_email_key on users (lower(email));

-- A login in one browser or program: a family of refresh tokens.
create table sessions (
    id uuid primary key,
    user_id integer not null references users (id) on delete cascade,
    created_at timestamptz not null default now(),
    -- Moves on with every refresh.
    expires_at timestamptz not null,
    revoked_at timestamptz
);

create index sessions_user_id_idx on sessions (user_id);
create index sessions_expires_at_idx on sessions (expires_at);

create table refresh_tokens (
    -- SHA-256 of the token; the token itself is kept nowhere.
    token_hash bytea primary key,
    session_id uuid not null references sessions (id) on delete cascade,
    created_at timestamptz not null default now(),
    -- Since when its successor is the one to use.
    rotated_at timestamptz
);

create index refresh_tokens_session_id_idx on refresh_tokens (session_id);
create index refresh_tokens_rotated_at_idx on refresh_tokens (rotated_at);

create table password_resets (
    -- SHA-256 of the token.
    token_hash bytea primary key,
    user_id integer not null references users (id) on delete cascade,
    expires_at timestamptz not null,
    used_at timestamptz
);

create index password_resets_user_id_idx on password_resets (user_id);

-- Failed logins of one account or one address within the present window.
create table login_failures (
    -- SHA-256 of the e-mail address or of the client's address; people type passwords into the wrong field.
    key bytea primary key,
    failures integer not null,
    window_ends_at timestamptz not null
);

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

create index idempotency_keys_created_at_idx on idempotency_keys (created_at);
