-- A replica of the version before stores a new start without opening cancellation. It does not write `change_version`:
-- that tells its statements from those of later versions. A new venue is nowhere in what it stores.
alter table bookings
    -- The event's version of the last stored change, by whoever knows of moves.
    add column change_version bigint not null default 0;

create function open_cancellation_of_moved_booking() returns trigger language plpgsql as $$
begin
    new.moved := true;
    return new;
end
$$;

create trigger bookings_moved_by_older_replica before update of event_starts_at on bookings
    for each row
    when (
        new.event_starts_at <> old.event_starts_at and new.change_version = old.change_version
        and (old.status = 'Confirmed' or old.status = 'Pending' and old.expires_at is not null)
    )
    execute function open_cancellation_of_moved_booking();
