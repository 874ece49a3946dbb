-- Organizers also see who had booked when an event was called off. `bookings_attendees`, which replicas of the version
-- before use, can go in a later migration.
create index bookings_who_came on bookings (event_id, id desc)
    where status = 'Confirmed'
        or status = 'Cancelled' and cancel_reason = 'event_cancelled' and payment_status in ('Paid', 'Refunded');
