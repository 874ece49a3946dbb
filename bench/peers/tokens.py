"""Access tokens: JWT signed with a secret (HS256) that all services share."""

import os
import time

import jwt

LIFETIME_SECONDS = 3600
_SECRET = os.environ["JWT_SECRET"]


def issue(user_id: int, role: str) -> str:
    now = int(time.time())
    claims = {"sub": str(user_id), "role": role, "iat": now, "exp": now + LIFETIME_SECONDS}
    return jwt.encode(claims, _SECRET, algorithm="HS256")


def user_of(header: str) -> int | None:
    """Whose token an Authorization header carries; None without a valid one."""
    try:
        return int(jwt.decode(header.removeprefix("Bearer "), _SECRET, algorithms=["HS256"])["sub"])
    except jwt.InvalidTokenError:
        return None
