"""Pagination of AuthZEN searches. A token is opaque, bound to its request, and has no state in the sidecar.

A token contains the last result. So results that appear or disappear between two pages neither repeat nor hide others.
It needs no signature: a forged token only selects another page of the caller's own results.
"""

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from sidecar.api.authzen.requests import Members, optional_object
from sidecar.api.authzen.schemas import PageInfo
from sidecar.http.json_body import InvalidBodyError

MAX_RESULTS: Final = 1000
"""Results per response. A higher limit, or none, returns this many and a token."""

_BOUND: Final = ("subject", "action", "resource")


class PageToken(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Content of a token: the last result shown, the first request's limit, and the digest of the request."""

    after: str
    limit: int
    request: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The page to return. ``asked``: the request has a page, so the response has one, too."""

    after: str
    limit: int
    request: str
    is_paged: bool

    def cut(self, results: list[str]) -> tuple[list[str], PageInfo | msgspec.UnsetType]:
        """Return this page's part of the sorted results, and the response's ``page``, if it has one."""
        left = [one for one in results if one > self.after]
        shown = left[: self.limit]
        last = len(shown) == len(left)
        if last and not self.is_paged:
            return shown, msgspec.UNSET
        next_token = "" if last else _token(PageToken(shown[-1] if shown else self.after, self.limit, self.request))
        return shown, PageInfo(next_token, len(shown), len(results))


def page_of(sent: Members, endpoint: str) -> PageRequest:
    """Return the requested page.

    Raises InvalidBodyError for an invalid limit, a changed limit, an invalid token, and another request's token.
    """
    wanted = optional_object(sent, "page")
    optional_object(wanted, "properties", "page.")
    is_paged = sent.get("page") is not None
    limit, request, token = _limit(wanted), _digest(sent, endpoint), wanted.get("token")
    if token is None or token == "":
        return PageRequest("", MAX_RESULTS if limit is None else min(limit, MAX_RESULTS), request, is_paged)
    mark = _mark(token)
    if mark.request != request:
        raise InvalidBodyError("page.token belongs to another request; repeat the one that it came from")
    if limit is not None and min(limit, MAX_RESULTS) != mark.limit:
        raise InvalidBodyError("page.limit is not the one of the first request; repeat it or leave it out")
    return PageRequest(mark.after, mark.limit, request, is_paged=True)


def _limit(wanted: Members) -> int | None:
    limit = wanted.get("limit")
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise InvalidBodyError("page.limit must be an integer, 0 or more")
    return limit


def _digest(sent: Members, endpoint: str) -> str:
    bound = {name: sent[name] for name in _BOUND if name in sent}
    text = json.dumps([endpoint, bound], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:32]


def _token(mark: PageToken) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(mark)).decode("ascii").rstrip("=")


def _mark(token: object) -> PageToken:
    if not isinstance(token, str):
        raise InvalidBodyError("page.token must be a string")
    padded = token + "=" * (-len(token) % 4)
    try:
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=PageToken)
    except (ValueError, msgspec.MsgspecError):
        raise InvalidBodyError("page.token is invalid; start again without it") from None
