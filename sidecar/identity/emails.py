"""E-mail addresses: one spelling for each, or none. The syntax is email-validator's; nothing is looked up.

Two people never hold one address in two spellings, and one person is found however the address is typed: NFKC and case
folding for the part before the @, IDNA for the domain, without its trailing dot or spaces around it. Folding is for
comparing alone: ``straße@`` and ``strasse@`` are two mailboxes, so mail goes to the form that was written. Refuses
quoted local parts, address literals, display names and whatever the library calls unsafe (invisible and bidirectional
characters).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NewType

import email_validator

from sidecar.domain import text

Email = NewType("Email", str)
"""An address in its one spelling. The domain is ASCII, so that no look-alike passes for another."""

MAX_TYPED: Final = 320
_LONGEST_LOCAL: Final = 40
_PLAIN: Final = re.compile(r"[a-z0-9]+(?:[._+-][a-z0-9]+)*")
"""Local parts that neither NFKC nor folding changes."""
_DOTS: Final = ".\u3002"  # IDNA reads the ideographic full stop as a dot

# The library keeps this list open to change. These are the names of private networks and of tests, which is where a
# sidecar runs as well; mail to them is their owner's affair. `invalid`, `onion` and `arpa` stay refused.
_PRIVATE: Final = frozenset({"local", "localhost", "test"})
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name not in _PRIVATE
]


@dataclass(frozen=True, slots=True)
class Address:
    """``email`` is what addresses are compared by, ``mailbox`` is where mail is delivered."""

    email: Email
    mailbox: str


def parse(typed: str) -> Address | None:
    """Both forms of ``typed``, or None when it is not an address."""
    email = normalise(typed)
    if email is None:
        return None
    for form in (text.Form.NFC, text.Form.NFKC):  # NFKC: a wide at-sign separates nothing as it was written
        written = text.normalise(typed.strip(), form, MAX_TYPED)
        mailbox = None if written is None else _spell(written, fold=False)
        if mailbox is not None and normalise(mailbox) == email:
            return Address(email, mailbox)
    return Address(email, email)


def is_same_mailbox(one: str, other: str) -> bool:
    """Compare two deliverable forms: the case of letters may differ, nothing else."""
    return one.lower() == other.lower()


def is_written(mailbox: str, email: str) -> bool:
    """Report whether ``mailbox`` is a deliverable form of the folded ``email``."""
    return mailbox == email or parse(mailbox) == Address(Email(email), mailbox)


def is_mailbox(typed: str, mailbox: str) -> bool:
    """Report whether a typed address names ``mailbox``."""
    address = parse(typed)
    return address is not None and is_same_mailbox(address.mailbox, mailbox)


def normalise(typed: str) -> Email | None:
    """The one spelling of ``typed``, spaces around it aside, or None when it is not an address."""
    if len(typed) > MAX_TYPED:
        return None
    compatible = text.normalise(typed.strip(), text.Form.NFKC, MAX_TYPED)
    once = None if compatible is None else _spell(compatible)
    # Folding can lengthen an address or make another of it, so the result has to be an address of its own right.
    return None if once is None or _spell(once) != once else Email(once)


def is_normal(email: str) -> bool:
    """Return whether ``email`` is an address in its one spelling. Fast for many addresses of a few domains."""
    local, _, domain = email.rpartition("@")
    plain = len(local) <= _LONGEST_LOCAL and _PLAIN.fullmatch(local) is not None
    return (plain and _is_normal_domain(domain)) or normalise(email) == email


@lru_cache(maxsize=4096)
def _is_normal_domain(domain: str) -> bool:
    # The longest local part: the library bounds the whole address as well.
    local = "a" * _LONGEST_LOCAL
    return normalise(f"{local}@{domain}") == f"{local}@{domain}"


def verified_elsewhere(spelled: str) -> Email | None:
    """The one spelling of an address that somebody else found to be its owner's; None when it is another mailbox's.

    Folding makes one address of many that a mail server may tell apart: who owns the ``\uff41da@`` of some provider has
    not proven to be ``ada@``. So only the case of ASCII letters may differ; in the domain, what IDNA says is the same.
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
