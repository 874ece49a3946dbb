package peers;

import jakarta.validation.constraints.NotBlank;
import jakarta.validation.constraints.NotNull;
import jakarta.validation.constraints.Pattern;
import jakarta.validation.constraints.Positive;
import jakarta.validation.constraints.PositiveOrZero;
import java.time.Instant;

/** What an organizer sends. */
record NewEvent(
        @NotBlank String title,
        @NotNull String description,
        @NotBlank String venue,
        @NotBlank String timeZone,
        @NotNull Instant startsAt,
        @NotNull Instant endsAt,
        String category,
        @Positive int capacity,
        @PositiveOrZero long price,
        @NotNull @Pattern(regexp = "[A-Z]{3}") String currency,
        @Positive Integer maxSeatsPerBooking) {

    Event publishedBy(long organizerId) {
        return new Event(null, organizerId, "published", title, description, venue, timeZone, startsAt, endsAt,
                category, capacity, capacity, price, currency, maxSeatsPerBooking);
    }
}
