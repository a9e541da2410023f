"""Users per role, from a running sidecar: ``GET /v1/users`` with a token of one account. Ids alone are kept."""

import http.client
import json
import re
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from sidecar.cli.output import usage_error
from sidecar.domain.hosts import is_loopback

PATH: Final = "/v1/users"
TIMEOUT: Final = 10.0
MAX_BODY: Final = 8 * 1024 * 1024


class PeopleUnavailableError(Exception):
    """Raised when the sidecar gives no users. The message is the reason, without the token."""


def users_by_role(url: str, token: str) -> dict[str, list[str]]:
    """Return the ids of the users per role. Raises PeopleUnavailableError, and CliError for an invalid URL or token."""
    address = _address(url)
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise usage_error("the token on standard input is not one word of ASCII")
    return _by_role(_get(address, token))


def _address(url: str) -> SplitResult:
    """Return the parts of the URL. Without TLS only a loopback address is accepted, because a token is sent there."""
    try:
        address = urlsplit(url)
        host = address.hostname or ""
        valid = bool(host) and address.port != 0 and not (address.username or address.query or address.fragment)
    except ValueError:
        raise usage_error(f"--people {url}: not a URL, such as https://sidecar.example") from None
    if not valid or address.scheme not in ("http", "https"):
        raise usage_error(f"--people {url}: not a URL, such as https://sidecar.example")
    if address.scheme == "http" and not is_loopback(host):
        raise usage_error(f"--people {url}: a token is sent there, so it must be https, or a loopback address")
    return address


def _get(address: SplitResult, token: str) -> Any:
    """Send the request. Redirects are not followed, because the token would go along."""
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=TIMEOUT)
    try:
        connection.request("GET", address.path.rstrip("/") + PATH, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read(MAX_BODY + 1)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise PeopleUnavailableError(
            f"no sidecar responds: {getattr(error, 'strerror', None) or type(error).__name__}"
        ) from None
    finally:
        connection.close()
    if response.status != 200:
        raise PeopleUnavailableError(f"the sidecar responds with status {response.status}")
    if len(body) > MAX_BODY:
        raise PeopleUnavailableError(f"the response is larger than {MAX_BODY} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PeopleUnavailableError("the response is not JSON") from None


def _by_role(answer: Any) -> dict[str, list[str]]:
    users = answer.get("users") if isinstance(answer, dict) else None
    if not isinstance(users, list):
        raise PeopleUnavailableError("the response is no list of users")
    found: dict[str, list[str]] = {}
    for user in users:
        if not isinstance(user, dict) or user.get("status") == "expired":
            continue
        uid, role = user.get("id"), user.get("role")
        if isinstance(uid, str) and isinstance(role, str):
            found.setdefault(role, []).append(uid)
    return {role: sorted(ids) for role, ids in found.items()}
