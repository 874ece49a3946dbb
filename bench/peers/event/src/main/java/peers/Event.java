package peers;

import java.time.Instant;
import org.springframework.data.annotation.Id;
import org.springframework.data.mongodb.core.mapping.Document;

/** What is stored and what is answered. */
@Document("events")
record Event(
        @Id String id,
        long organizerId,
        String status,
        String title,
        String description,
        String venue,
        String timeZone,
        Instant startsAt,
        Instant endsAt,
        String category,
        int capacity,
        int available,
        long price,
        String currency,
        Integer maxSeatsPerBooking) {}
