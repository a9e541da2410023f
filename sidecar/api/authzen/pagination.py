"""Pages of an AuthZEN search. A token is opaque, bound to the request that it continues, and nothing is kept for it.

It says after which result to go on, so results that come or go between two pages neither repeat nor hide others. It
proves nothing and need not: another token only turns another page of the caller's own answer.
"""

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from sidecar.api.authzen.requests import Members, optional_object
from sidecar.http.json_body import BadBody

MAX_RESULTS: Final = 1000
"""In one answer. Who asks for more, or for no number, gets this many and a token."""

_BOUND: Final = ("subject", "action", "resource")


class Mark(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a token says: the last result shown, the limit asked for at first, and of which request it is."""

    after: str
    limit: int
    request: str


@dataclass(frozen=True, slots=True)
class Page:
    """Which results to show. ``asked``: the request has a page, so the answer has one too."""

    after: str
    limit: int
    request: str
    asked: bool

    def cut(self, results: list[str]) -> tuple[list[str], dict[str, Any] | None]:
        """The results of this page out of all, which are sorted; and the answer's ``page``, None when there is none."""
        left = [one for one in results if one > self.after]
        shown = left[: self.limit]
        last = len(shown) == len(left)
        if last and not self.asked:
            return shown, None
        next_token = "" if last else _token(Mark(shown[-1] if shown else self.after, self.limit, self.request))
        return shown, {"next_token": next_token, "count": len(shown), "total": len(results)}


def page_of(sent: Members, endpoint: str) -> Page:
    """Raises BadBody: a limit that is none, a token of another request or none of ours, another limit than at first."""
    wanted = optional_object(sent, "page")
    optional_object(wanted, "properties", "page.")
    asked = sent.get("page") is not None
    limit, request, token = _limit(wanted), _digest(sent, endpoint), wanted.get("token")
    if token is None or token == "":
        return Page("", MAX_RESULTS if limit is None else min(limit, MAX_RESULTS), request, asked)
    mark = _mark(token)
    if mark.request != request:
        raise BadBody("page.token belongs to another request; repeat the one that it came from")
    if limit is not None and min(limit, MAX_RESULTS) != mark.limit:
        raise BadBody("page.limit is not the one of the first request; repeat it or leave it out")
    return Page(mark.after, mark.limit, request, asked=True)


def _limit(wanted: Members) -> int | None:
    limit = wanted.get("limit")
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise BadBody("page.limit must be an integer, 0 or more")
    return limit


def _digest(sent: Members, endpoint: str) -> str:
    bound = {name: sent[name] for name in _BOUND if name in sent}
    text = json.dumps([endpoint, bound], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:32]


def _token(mark: Mark) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(mark)).decode("ascii").rstrip("=")


def _mark(token: object) -> Mark:
    if not isinstance(token, str):
        raise BadBody("page.token must be a string")
    padded = token + "=" * (-len(token) % 4)
    try:
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Mark)
    except (ValueError, msgspec.MsgspecError):
        raise BadBody("page.token is not one of ours; start again without it") from None
