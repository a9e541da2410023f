"""Hooks for schemathesis: each operation gets the credential of its ``security``, and some existing values."""

import os
import zlib
from typing import Any

import requests
import schemathesis

URL = os.environ["FUZZ_URL"]
EMAIL = os.environ["FUZZ_EMAIL"]
PASSWORD = os.environ["FUZZ_PASSWORD"]
KEY = os.environ["FUZZ_PEP_KEY"]


def access_token() -> str:
    grant = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
    answer = requests.post(f"{URL}/token", data=grant, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


class Tokens:
    """Valid token, renewed when an operation has ended its session."""

    def __init__(self) -> None:
        self._token = ""

    def live(self) -> str:
        if self._token:
            asked = requests.get(f"{URL}/v1/me", headers={"Authorization": f"Bearer {self._token}"}, timeout=10)
            if asked.status_code == 200:
                return self._token
        self._token = access_token()
        return self._token


TOKENS = Tokens()


@schemathesis.auth(refresh_interval=None)
class Credentials:
    """Add a PEP's key, a user's token or no credential, as the operation requires."""

    def get(self, case: schemathesis.Case, _context: Any) -> str | None:
        security = case.operation.definition.raw.get("security", [])
        names = {name for each in security for name in each}
        if "pepKey" in names:
            return KEY
        return TOKENS.live() if "accessToken" in names else None

    def set(self, case: schemathesis.Case, data: str | None, _context: Any) -> None:
        if data is not None:
            case.headers["Authorization"] = f"Bearer {data}"


# -- existing values --------------------------------------------------------------------------------------------------
# Random strings reach only the first line of a handler. Therefore some generated strings are replaced by existing ones.
# The string itself determines the replacement, so that a seed repeats a run.

ROLES = ("account-administrator", "accountant", "developer", "marketer", "member", "ghost")
SECTIONS = ("billing", "media-library", "users", "account-settings", "nowhere")
ACTIONS = ("view", "manage", "change-plan", "upload", "GET", "POST", "fly")
PATHS = ("/dashboard/billing/x", "/dashboard/media-library", "/login", "/nowhere", "/a/../b", "/dashboard/users?x=1")
METHODS = ("GET", "POST", "HEAD", "DELETE", "get")


def users() -> list[str]:
    answer = requests.get(f"{URL}/v1/users", headers={"Authorization": f"Bearer {TOKENS.live()}"}, timeout=10)
    return [user["id"] for user in answer.json()["users"] if user["email"] != EMAIL]


def pick(seen: str, several: Any) -> Any:
    return several[zlib.crc32(seen.encode("utf-8", "surrogatepass")) % len(several)] if several else seen


KNOWN: dict[str, Any] = {
    "role": lambda seen: pick(seen, ROLES),
    "email": lambda seen: f"user{zlib.crc32(seen.encode('utf-8', 'surrogatepass')) % 1000}@example.com",
    "section": lambda seen: pick(seen, SECTIONS),
    "action": lambda seen: pick(seen, ACTIONS),
    "username": lambda _seen: EMAIL,
    "old_password": lambda seen: pick(seen, (PASSWORD, "not the old one")),
    "password": lambda seen: pick(seen, (PASSWORD, "short", "another green bottle falls")),
    "x-forwarded-uri": lambda seen: pick(seen, PATHS),
    "x-original-uri": lambda seen: pick(seen, PATHS),
    "x-forwarded-method": lambda seen: pick(seen, METHODS),
    "x-original-method": lambda seen: pick(seen, METHODS),
    "id": lambda seen: pick(seen, users()),
}


def known(values: Any) -> Any:
    """Return ``values`` with some strings of known names replaced: two of three, determined by the string itself."""
    if not isinstance(values, dict):
        return values
    return {name: _known(str(name).lower(), value) for name, value in values.items()}


def _known(name: str, value: Any) -> Any:
    """Keep over-long strings: they test the limits."""
    plain = isinstance(value, str) and len(value) <= 100
    if plain and name in KNOWN and zlib.crc32(value.encode("utf-8", "surrogatepass")) % 3:
        return KNOWN[name](value)
    return value


def entities(body: Any) -> Any:
    """Replace AuthZEN's subject, action and resource."""
    if not isinstance(body, dict):
        return body
    made = dict(body)
    for name, several in (("subject", (("role", ROLES), ("user", (EMAIL, "nobody@example.com")))),
                          ("resource", (("section", SECTIONS), ("route", PATHS)))):  # fmt: skip
        entity = made.get(name)
        if isinstance(entity, dict) and isinstance(entity.get("type"), str):
            kind, ids = pick(entity["type"], several)
            made[name] = {**entity, "type": kind}
            if isinstance(entity.get("id"), str):
                made[name]["id"] = pick(entity["id"], ids)
    action = made.get("action")
    if isinstance(action, dict) and isinstance(action.get("name"), str):
        made["action"] = {**action, "name": pick(action["name"], ACTIONS)}
    if isinstance(made.get("evaluations"), list):
        made["evaluations"] = [entities(item) for item in made["evaluations"]]
    return made


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    return entities(body) if context.operation.path.startswith("/access/") else known(body)


@schemathesis.hook
def map_path_parameters(_context: schemathesis.HookContext, path_parameters: Any) -> Any:
    return known(path_parameters)


@schemathesis.hook
def map_headers(_context: schemathesis.HookContext, headers: Any) -> Any:
    return known(headers)
