"""Signing of access tokens (RFC 9068): EdDSA, ``typ: at+jwt``, and no claims beyond ``Claims``.

``client_id``, required by RFC 9068 section 2.2, is the user's id, because no clients are registered.
"""

import jwt

from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import ALGORITHM, KeySet

TYPE = "at+jwt"


def access_token(keys: KeySet, claims: Claims) -> str:
    """Return a signed JWT with exactly ``claims``. The caller is responsible for their validity."""
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
