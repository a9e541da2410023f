"""Fields of archived records and the form of each: one table per kind of record. Pure.

Add each field that a script writes; `tests/store/test_archive.py` compares the two.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.domain.labels import MAX_LABELS, is_text
from sidecar.domain.peps import Scope, account_of_pep
from sidecar.domain.users import Status
from sidecar.store import keys
from sidecar.tokens.ids import account_of, is_account_id

MAX_COUNT: Final = 10**15 - 1
"""Maximum count. Numbers of Lua and JSON are exact up to 2**53; the rest is room for further counting."""
MAX_INSTANT: Final = 253_402_300_799_999
"""End of the year 9999, in Unix milliseconds."""
MAX_TEXT: Final = 512
MAX_NAME: Final = 100
MAX_SEALED: Final = 4096
MAX_EMAIL: Final = 320
MAX_DETAIL: Final = 256 * 1024
"""Maximum characters of an audit row's ``before`` or ``after``."""

_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,14}")
_EMAIL: Final = re.compile(r"[^\x00-\x20\x7f@]+@[a-z0-9.-]+")
_ROLE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VERBATIM: Final = re.compile(r"[\x21-\x7e]+")
_WORD: Final = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LINK: Final = re.compile(r"[0-9a-f]{64}:[0-9a-f]{64}")
_JOINERS: Final = "\u200c\u200d"
_NO_LINE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """Form of a value. ``says``: description for messages. ``secret``: messages never show the value."""

    says: str
    holds: Callable[[str], bool]
    required: bool = True
    secret: bool = False

    def optional(self) -> "ValueFormat":
        return ValueFormat(self.says, self.holds, required=False, secret=self.secret)


Fields = Mapping[str, ValueFormat]


def is_line(text: str, most: int) -> bool:
    """Return whether the text is one clean line of at most ``most`` characters."""
    if text.isascii():
        return len(text) <= most and text.isprintable()
    return len(text) <= most and all(char in _JOINERS or unicodedata.category(char) not in _NO_LINE for char in text)


def is_whole(text: str, least: int = 0, most: int = MAX_COUNT) -> bool:
    """Return whether the text is a whole number as scripts write it: ASCII digits, no sign, no leading zero."""
    return _WHOLE.fullmatch(text) is not None and least <= int(text) <= most


def is_email(text: str) -> bool:
    return is_line(text, MAX_EMAIL) and _EMAIL.fullmatch(text) is not None


def is_role(text: str) -> bool:
    return _ROLE.fullmatch(text) is not None


def is_link(text: str) -> bool:
    """Return whether the text consists of the digests of issuer and subject."""
    return _LINK.fullmatch(text) is not None


def is_bounded(text: str, most: int) -> bool:
    """Return whether the text has at most ``most`` characters, all valid in JSON, Lua and UTF-8."""
    if text.isascii():
        return len(text) <= most
    return len(text) <= most and not any("\ud800" <= char <= "\udfff" for char in text)


def _is_detail(text: str) -> bool:
    if text == "":
        return True
    if not is_bounded(text, MAX_DETAIL):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _is_hold(text: str) -> bool:
    if not _is_detail(text) or not text:
        return False
    found = json.loads(text)
    if not isinstance(found, dict) or found.keys() != {"role", "status", "t"}:
        return False
    role, status, since = found["role"], found["status"], str(found["t"])
    known = {Status.INVITED, Status.ACTIVE, Status.SUSPENDED, "removed"}
    return isinstance(role, str) and is_role(role) and status in known and is_whole(since, 0, MAX_INSTANT)


def _is_scopes(text: str) -> bool:
    words = text.split(" ")
    return words == sorted(set(words)) and set(words) <= set(Scope)


def _is_subject(text: str) -> bool:
    return text == "" or is_account_id(text) or account_of(text) is not None or account_of_pep(text) is not None


COUNT: Final = ValueFormat(f"a whole number from 0 to {MAX_COUNT:,}", is_whole)
EPOCH: Final = ValueFormat(f"an epoch: a whole number from 1 to {MAX_COUNT:,}", lambda text: is_whole(text, 1))
INSTANT: Final = ValueFormat("a time in Unix milliseconds", lambda text: is_whole(text, 0, MAX_INSTANT))
NAME: Final = ValueFormat(f"one line of at most {MAX_NAME} characters", lambda text: is_line(text, MAX_NAME))
EMAIL: Final = ValueFormat("an e-mail address in its normal form", is_email)
MAILBOX: Final = ValueFormat("an e-mail address as it was written", is_email)
ROLE: Final = ValueFormat("the id of a role", is_role)
FLAG: Final = ValueFormat("0 or 1", lambda text: text in {"0", "1"})
STATUS: Final = ValueFormat("active or suspended", lambda text: text in {Status.ACTIVE, Status.SUSPENDED})
ACTOR: Final = ValueFormat(
    "a user id, or empty for an operator", lambda text: text == "" or account_of(text) is not None
)
LABEL: Final = ValueFormat("the name or e-mail of an inviter, or empty", lambda text: is_line(text, MAX_EMAIL))
TEXT: Final = ValueFormat(f"text of at most {MAX_TEXT} characters", lambda text: is_bounded(text, MAX_TEXT))
SECRET: Final = ValueFormat(
    f"1 to {MAX_TEXT} printable ASCII characters",
    lambda text: len(text) <= MAX_TEXT and _VERBATIM.fullmatch(text) is not None,
    secret=True,
)
PASSWORD: Final = ValueFormat(
    f"a password's hash, or empty where there is none: at most {MAX_TEXT} printable ASCII characters",
    lambda text: text == "" or SECRET.holds(text),
    secret=True,
)
HASH: Final = ValueFormat("a SHA-256 in hexadecimal", lambda text: _HASH.fullmatch(text) is not None)
DETAIL: Final = ValueFormat(f"a JSON object of at most {MAX_DETAIL:,} characters, or empty", _is_detail)
HOLD: Final = ValueFormat("a JSON object with role, status and time of a lost change", _is_hold)
LABELS: Final = ValueFormat(f"at most {MAX_LABELS} labels, NAME=VALUE, sorted, each name once", is_text)

ACCOUNT: Final[Fields] = {
    "id": ValueFormat("an account id", is_account_id),
    "name": ValueFormat(NAME.says + ", not empty", lambda text: is_line(text, MAX_NAME) and keys.folded(text) != ""),
    "cap": ValueFormat("a whole number of seats from 1 to 999,999,999", lambda text: is_whole(text, 1, 999_999_999)),
    "st": STATUS,
    "created": INSTANT,
    "seq": COUNT,
    "rows": COUNT,
    "born": COUNT.optional(),
    "swept": INSTANT.optional(),
    "labels": LABELS.optional(),
}
USER: Final[Fields] = {
    "em": EMAIL,
    "mb": MAILBOX.optional(),
    "name": NAME,
    "role": ROLE,
    "st": STATUS,
    "tv": EPOCH,
    "pwtv": EPOCH,
    "pw": PASSWORD,
    "ev": FLAG,
    "created": INSTANT,
    "changed": INSTANT,
    "rv": COUNT,
    "tvt": INSTANT.optional(),
    "seen": INSTANT.optional(),
    "api": FLAG.optional(),
    "by": ACTOR.optional(),
    "byn": LABEL.optional(),
    "hold": HOLD.optional(),
}
FACTOR: Final[Fields] = {
    "u": ValueFormat("a user id", lambda text: account_of(text) is not None),
    "sealed": ValueFormat(
        f"a sealed secret: 1 to {MAX_SEALED} printable ASCII characters",
        lambda text: len(text) <= MAX_SEALED and _VERBATIM.fullmatch(text) is not None,
        secret=True,
    ),
    "name": NAME,
    "created": INSTANT,
    "counts": INSTANT,
    "used": INSTANT.optional(),
    "step": COUNT.optional(),
    "count": COUNT.optional(),
}
INVITATION: Final[Fields] = {
    "em": EMAIL,
    "mb": MAILBOX.optional(),
    "name": NAME,
    "role": ROLE,
    "th": SECRET,
    "ev": FLAG,
    "by": ACTOR,
    "byn": LABEL.optional(),
    "exp": INSTANT,
    "created": INSTANT,
    "changed": INSTANT,
    "rv": COUNT,
    "hold": HOLD.optional(),
}
PEP: Final[Fields] = {
    "id": ValueFormat("the id of a PEP key", lambda text: account_of_pep(text) is not None),
    "name": ValueFormat(NAME.says + ", not empty", lambda text: text != "" and is_line(text, MAX_NAME)),
    "scopes": ValueFormat(f"some of {', '.join(sorted(Scope))}, sorted, each once", _is_scopes),
    "th": SECRET,
    "rate": ValueFormat("a whole number from 1 to 1,000,000,000", lambda text: is_whole(text, 1, 10**9)),
    "created": INSTANT,
    "exp": INSTANT,
    "rv": COUNT,
}
SEAL: Final[Fields] = {
    "n": COUNT.optional(),
    "hash": HASH.optional(),
    "signed": COUNT.optional(),
    "anchor_n": COUNT.optional(),
    "anchor": HASH.optional(),
}
AUDIT_ROW: Final[Fields] = {
    "action": ValueFormat(
        "an audited event, like user.changed", lambda text: len(text) <= MAX_NAME and bool(_WORD.fullmatch(text))
    ),
    "actor": ACTOR,
    "target": ValueFormat("the id of a user, a PEP key or an account", _is_subject),
    "before": DETAIL,
    "after": DETAIL,
    "addr": TEXT,
    "req": TEXT,
    "t": INSTANT,
    "actor_name": NAME.optional(),
    "actor_email": EMAIL.optional(),
    "target_name": NAME.optional(),
    "target_email": EMAIL.optional(),
}
