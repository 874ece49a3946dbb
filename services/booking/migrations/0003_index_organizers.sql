-- What organizers ask: who comes, newest first, and what each of their events has brought in.
create index bookings_attendees on bookings (event_id, id desc) where status = 'Confirmed';
create index bookings_of_organizer on bookings (organizer_id, event_id, currency) where payment_status in ('Paid', 'Refunded');
