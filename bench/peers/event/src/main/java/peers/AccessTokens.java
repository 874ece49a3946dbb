package peers;

import com.auth0.jwt.JWT;
import com.auth0.jwt.JWTVerifier;
import com.auth0.jwt.algorithms.Algorithm;
import com.auth0.jwt.exceptions.JWTVerificationException;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Component;
import org.springframework.web.server.ResponseStatusException;

@Component
class AccessTokens {
    private final JWTVerifier verifier;

    AccessTokens(@Value("${JWT_SECRET}") String secret) {
        verifier = JWT.require(Algorithm.HMAC256(secret)).build();
    }

    /** The organizer whose token an Authorization header carries. */
    long organizer(String header) {
        try {
            var token = verifier.verify(header.replaceFirst("^Bearer ", ""));
            if ("organizer".equals(token.getClaim("role").asString())) {
                return Long.parseLong(token.getSubject());
            }
        } catch (JWTVerificationException invalid) {
            throw new ResponseStatusException(HttpStatus.UNAUTHORIZED, "unauthorized", invalid);
        }
        throw new ResponseStatusException(HttpStatus.FORBIDDEN, "forbidden");
    }
}
