-- The tables of the user and the booking service, empty. Primary keys are integers, as the seed has them.
create table if not exists users (
    id integer generated always as identity primary key,
    email text not null unique,
    password_hash text not null,
    name text not null,
    role text not null
);

create table if not exists bookings (
    id integer generated always as identity primary key,
    user_id integer not null,
    event_id text not null,
    status text not null,
    payment_status text not null,
    created_at timestamp not null default (now() at time zone 'utc'),
    seats integer not null,
    amount bigint not null,
    currency text not null,
    expires_at timestamp not null
);
create index if not exists bookings_of_user on bookings (user_id);

truncate users, bookings restart identity;
