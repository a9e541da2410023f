"""A straightforward handler with the same libraries: aiohttp, PyJWT, redis.asyncio, pycasbin.

Correct on the happy path and with a live record, so that a revoked token is rejected; nothing is cached, measured or
logged. ``python -m tests.bench.naive_baseline PORT REDIS_URL MODEL POLICY_CSV JWKS ISSUER AUDIENCE``.
"""

import json
import sys
from pathlib import Path

import casbin
import jwt
from aiohttp import web
from redis.asyncio import Redis

WRITING = {"billing": "change-plan", "cache-purge": "purge", "account-settings": "change-password", "policy": "preview"}


def action_of(section: str, method: str) -> str:
    if method in {"GET", "HEAD"}:
        return "view"
    if section == "media-library" and method in {"POST", "PUT"}:
        return "upload"
    return WRITING.get(section, "manage")


def application(redis_url: str, model: str, policy: str, jwks: str, issuer: str, audience: str) -> web.Application:
    enforcer = casbin.Enforcer(model, policy)
    keys = jwt.PyJWKSet.from_json(Path(jwks).read_text())
    redis = Redis.from_url(redis_url)

    async def check(request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return web.Response(status=401)
        try:
            key = keys[jwt.get_unverified_header(token)["kid"]].key
            claims = jwt.decode(token, key, algorithms=["EdDSA"], issuer=issuer, audience=audience)
        except (jwt.PyJWTError, KeyError):
            return web.Response(status=401)
        found = await redis.get(f"afternoon:{claims['sub']}")
        user = json.loads(found) if found else None
        if user is None or not user["active"] or user["epoch"] != claims["tv"]:
            return web.Response(status=401)
        path = request.headers["X-Forwarded-Uri"].partition("?")[0].split("/")
        section = path[2] if len(path) > 2 and path[1] == "dashboard" else ""
        action = action_of(section, request.headers["X-Forwarded-Method"])
        if not section or not enforcer.enforce(user["role"], section, action):  # type: ignore[no-untyped-call]  # pycasbin
            return web.Response(status=403)
        return web.Response(headers={"X-Auth-User": claims["sub"], "X-Auth-Role": user["role"]})

    app = web.Application()
    app.router.add_get("/check", check)
    return app


def main(port: str, *words: str) -> None:
    web.run_app(application(*words), host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
