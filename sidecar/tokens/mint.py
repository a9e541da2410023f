"""Sign access tokens (RFC 9068): EdDSA, ``typ: at+jwt``, the claims and nothing else. Knows no clock and no user.

``client_id``, which RFC 9068 section 2.2 requires, is the user's id: no client is registered, each user is its own.
"""

import jwt

from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import ALGORITHM, KeySet

TYPE = "at+jwt"


def access_token(keys: KeySet, claims: Claims) -> str:
    """The token. What it says is exactly ``claims``; whether that is right is the caller's."""
    payload: dict[str, str | int] = {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.user,
        "client_id": claims.user,
        "acct": claims.account,
        "sid": claims.session,
        "jti": claims.jti,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "tv": claims.epoch,
    }
    if claims.not_before is not None:
        payload["nbf"] = claims.not_before
    return jwt.encode(payload, keys.private_key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": keys.kid})
