"""E-mail addresses: one canonical form per address. email-validator checks the syntax, without DNS queries.

The canonical form makes an address unique and finds it in any spelling. It applies NFKC and case folding to the local
part and IDNA to the domain, and removes a trailing dot and outer spaces. Folding is for comparison only: ``straße@``
and ``strasse@`` are two mailboxes, so mail goes to the form as written. Quoted local parts, address literals, display
names and characters that the library calls unsafe (invisible and bidirectional ones) are rejected.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NewType

import email_validator

from sidecar.domain import text

Email = NewType("Email", str)
"""Address in canonical form. The domain is ASCII, so that confusable domains differ."""

MAX_TYPED: Final = 320
_LONGEST_LOCAL: Final = 40
_PLAIN: Final = re.compile(r"[a-z0-9]+(?:[._+-][a-z0-9]+)*")
"""Local parts that NFKC and folding leave unchanged."""
_DOTS: Final = ".\u3002"  # IDNA treats the ideographic full stop as a dot

# The library allows changes to this list. Sidecars also run in private networks and tests, so their names are valid
# here. `invalid`, `onion` and `arpa` stay invalid.
_PRIVATE: Final = frozenset({"local", "localhost", "test"})
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name not in _PRIVATE
]


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """Parsed address. ``email``: canonical form for comparison. ``mailbox``: form for delivery."""

    email: Email
    mailbox: str


def parse(typed: str) -> EmailAddress | None:
    """Return both forms of ``typed``, or None if it is not an address."""
    email = normalise(typed)
    if email is None:
        return None
    for form in (text.NormalForm.NFC, text.NormalForm.NFKC):  # NFKC: for a full-width at sign
        written = text.normalise(typed.strip(), form, MAX_TYPED)
        mailbox = None if written is None else _spell(written, fold=False)
        if mailbox is not None and normalise(mailbox) == email:
            return EmailAddress(email, mailbox)
    return EmailAddress(email, email)


def is_same_mailbox(one: str, other: str) -> bool:
    """Return True if two deliverable forms are equal except for case."""
    return one.lower() == other.lower()


def is_written(mailbox: str, email: str) -> bool:
    """Return True if ``mailbox`` is a deliverable form of the folded ``email``."""
    return mailbox == email or parse(mailbox) == EmailAddress(Email(email), mailbox)


def is_mailbox(typed: str, mailbox: str) -> bool:
    """Return True if a typed address names ``mailbox``."""
    address = parse(typed)
    return address is not None and is_same_mailbox(address.mailbox, mailbox)


def normalise(typed: str) -> Email | None:
    """Return the canonical form of ``typed``, without outer spaces, or None if it is not an address."""
    if len(typed) > MAX_TYPED:
        return None
    compatible = text.normalise(typed.strip(), text.NormalForm.NFKC, MAX_TYPED)
    once = None if compatible is None else _spell(compatible)
    # Folding can lengthen or change an address, so the result must itself be a valid address.
    return None if once is None or _spell(once) != once else Email(once)


def is_normal(email: str) -> bool:
    """Return True if ``email`` is an address in canonical form. Fast for many addresses in a few domains."""
    local, _, domain = email.rpartition("@")
    plain = len(local) <= _LONGEST_LOCAL and _PLAIN.fullmatch(local) is not None
    return (plain and _is_normal_domain(domain)) or normalise(email) == email


@lru_cache(maxsize=4096)
def _is_normal_domain(domain: str) -> bool:
    # Use the longest plain local part, because the library also limits the whole address.
    local = "a" * _LONGEST_LOCAL
    return normalise(f"{local}@{domain}") == f"{local}@{domain}"


def verified_elsewhere(spelled: str) -> Email | None:
    """Return the canonical form of an address verified by another party; None if it belongs to another mailbox.

    Folding maps addresses of different mailboxes to one form: the owner of ``\uff41da@`` has not proven ``ada@``.
    Therefore only the case of ASCII letters in the local part may differ. Domains are equal if IDNA makes them equal.
    """
    email = normalise(spelled)
    if email is None:
        return None
    local = "".join(char.lower() if char.isascii() else char for char in local_part(spelled.strip()))
    return email if local == local_part(email) else None


def local_part(email: str) -> str:
    return email.rpartition("@")[0]


def _spell(address: str, *, fold: bool = True) -> str | None:
    local, at, domain = address.rpartition("@")
    if not at or not domain:
        return None
    domain = domain[:-1] if domain[-1] in _DOTS else domain
    try:
        valid = email_validator.validate_email(f"{local}@{domain}", check_deliverability=False, strict=True)
    except (email_validator.EmailNotValidError, UnicodeError):
        return None
    kept = text.fold(valid.local_part, MAX_TYPED) if fold else valid.local_part
    return None if kept is None else f"{kept}@{valid.ascii_domain.lower()}"
