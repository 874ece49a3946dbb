-- Bookings whose seats were refused are deleted after some days: nobody was promised anything, and nothing refers to them.
create index bookings_rejected on bookings (updated_at) where status = 'Rejected';

alter table bookings
    -- The event's version when the seats were held; 0 where event-service did not say it.
    add column booked_version bigint not null default 0,
    -- Since then the event was moved (start or venue), and its holders were told: cancellation is open until it starts.
    add column moved boolean not null default false,
    -- It was moved, and holders are told soon, unless that is taken back before.
    add column move_untold boolean not null default false;
