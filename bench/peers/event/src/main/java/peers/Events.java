package peers;

import static org.springframework.data.mongodb.core.query.Criteria.where;
import static org.springframework.data.mongodb.core.query.Query.query;

import jakarta.validation.Valid;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.Positive;
import java.util.List;
import java.util.Optional;
import org.bson.types.ObjectId;
import org.springframework.data.domain.Sort;
import org.springframework.data.mongodb.core.FindAndModifyOptions;
import org.springframework.data.mongodb.core.MongoTemplate;
import org.springframework.data.mongodb.core.query.Update;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ResponseStatusException;

@RestController
@RequestMapping("/api/events")
class Events {
    record Page(List<Event> items, String nextCursor) {}

    record Seats(@Positive int seats) {}

    private final MongoTemplate mongo;
    private final AccessTokens tokens;

    Events(MongoTemplate mongo, AccessTokens tokens) {
        this.mongo = mongo;
        this.tokens = tokens;
    }

    @GetMapping
    Page list(@RequestParam(defaultValue = "20") @Min(1) @Max(100) int limit, Optional<String> cursor) {
        var published = where("status").is("published");
        cursor.ifPresent(last -> published.and("_id").gt(parsed(last)));
        // One more tells whether another page follows.
        var found = mongo.find(query(published).with(Sort.by("_id")).limit(limit + 1), Event.class);
        if (found.size() <= limit) {
            return new Page(found, null);
        }
        return new Page(found.subList(0, limit), found.get(limit - 1).id());
    }

    @PostMapping
    @ResponseStatus(HttpStatus.CREATED)
    Event create(@RequestHeader("Authorization") String authorization, @Valid @RequestBody NewEvent event) {
        return mongo.insert(event.publishedBy(tokens.organizer(authorization)));
    }

    @GetMapping("/{id}")
    Event get(@PathVariable String id) {
        return Optional.ofNullable(mongo.findById(parsed(id), Event.class)).orElseThrow(Events::notFound);
    }

    /** One atomic step: the event changes only while it has that many seats. */
    @PutMapping("/{id}/decrease_capacity")
    Event decreaseCapacity(@PathVariable String id, @Valid @RequestBody Seats wanted) {
        var enough = query(where("_id").is(parsed(id)).and("available").gte(wanted.seats()));
        var taken = new Update().inc("available", -wanted.seats());
        var event = mongo.findAndModify(enough, taken, FindAndModifyOptions.options().returnNew(true), Event.class);
        if (event == null) {
            throw new ResponseStatusException(HttpStatus.CONFLICT, "sold_out");
        }
        return event;
    }

    private static ObjectId parsed(String id) {
        if (!ObjectId.isValid(id)) {
            throw notFound();
        }
        return new ObjectId(id);
    }

    private static ResponseStatusException notFound() {
        return new ResponseStatusException(HttpStatus.NOT_FOUND, "event_not_found");
    }
}
