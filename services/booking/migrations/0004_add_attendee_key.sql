-- What the search for attendees compares with: name and address, folded by contracts::text::fold. Null until it is made;
-- replicas of an older version insert rows without one, and the backfill of booking-service gives it to them.
alter table bookings add column attendee_key text;

create index bookings_without_attendee_key on bookings (id) where attendee_key is null;

-- A key never outlives the name and the address that it is made of, whoever changes them.
create function forget_attendee_key() returns trigger language plpgsql as $$
begin
    new.attendee_key := null;
    return new;
end
$$;

create trigger bookings_forget_attendee_key before update of user_name, user_email on bookings
for each row when (
    (old.user_name, old.user_email) is distinct from (new.user_name, new.user_email)
    and new.attendee_key is not distinct from old.attendee_key
)
execute function forget_attendee_key();
