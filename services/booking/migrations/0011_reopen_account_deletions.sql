-- A finished deletion starts again when a booking of that account needs it: a replica of an older version inserted one,
-- or an event that had started was moved to a later time. The lease is ended too, so that a sweeper that is about to
-- finish the deletion, and has not seen the row, does not.
create function reopen_account_deletion() returns trigger language plpgsql as $$
begin
    update account_deletions
    set finished_at = null, lease_until = null, next_check_at = now(), checks = 0
    where user_id = new.user_id;
    return null;
end
$$;

create trigger bookings_reopen_account_deletion after insert or update of event_starts_at on bookings
    for each row execute function reopen_account_deletion();
