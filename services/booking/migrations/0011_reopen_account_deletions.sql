-- A finished deletion starts again when a booking of that account needs it: a replica of an older version inserted one,
-- or an event that had started was moved to a later time. The row is updated even if the deletion is not finished, so
-- that a sweeper that is finishing it and this transaction wait for each other. The lease is ended, so that the deletion
-- is due at once.
create function reopen_account_deletion() returns trigger language plpgsql as $$
begin
    if exists (select from account_deletions where user_id = new.user_id) then
        -- A move concerns many accounts, another one perhaps the same in another order: one after the other, to avoid
        -- deadlocks.
        perform pg_advisory_xact_lock(hashtext('reopen_account_deletion'));
        update account_deletions
        set finished_at = null, lease_until = null, next_check_at = now(), checks = 0
        where user_id = new.user_id;
    end if;
    return null;
end
$$;

create trigger bookings_inserted_after_account_deletion after insert on bookings
    for each row execute function reopen_account_deletion();

-- Holding the seats sets the start too, for the first time, and must not cost a query.
create trigger bookings_moved_after_account_deletion after update of event_starts_at on bookings
    for each row
    when (new.status = 'Confirmed' and new.event_starts_at > old.event_starts_at)
    execute function reopen_account_deletion();
