package peers;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** The event service: Spring Boot over MongoDB. */
@SpringBootApplication
public class EventService {
    public static void main(String[] arguments) {
        SpringApplication.run(EventService.class, arguments);
    }
}
