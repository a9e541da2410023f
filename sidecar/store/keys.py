"""Key names and their partitions. Issues no command.

All keys of an account, and the feed of its changes, share one hash tag ``{pNN}``, so that one script can access them on
a Cluster too. The scripts derive the keys below an account's key.
"""

import hashlib
from binascii import crc_hqx
from typing import Final

from sidecar.domain import text
from sidecar.domain.users import AccountId

META: Final = "sc:meta"
MAX_NAME: Final = 400
"""Maximum characters of an account's name as typed: that of identity/display_names.py, before composition."""

LIMIT_BUCKETS: Final = 1 << 20
"""Fixed number of buckets for limiter keys (R16), so that no client can fill the store."""


def partition_of(subject: str, partitions: int) -> int:
    """Return the partition by CRC16 (XMODEM), as Redis hashes slots. Any stable hash would do."""
    if partitions == 1:
        return 0
    return crc_hqx(subject.encode("utf-8"), 0) % partitions


def tag(partition: int) -> str:
    return f"{{p{partition:02d}}}"


def feed(partition: int) -> str:
    """Return the key of the stream. ``:n``: its counter. ``:gen``: random id of the data set."""
    return f"sc:{tag(partition)}:feed"


def sidecars(partition: int) -> str:
    """Return the key of: sidecar id -> end of its registration in ms (Redis clock).

    By sidecar id, ``:applied``: last applied change. ``:lease``: lease in ms. ``:told``: reported state.
    """
    return f"sc:{tag(partition)}:side"


def partition_meta(partition: int) -> str:
    """Return the key of the copy of ``sc:meta`` in the partition's slot, verified with each registration (R46)."""
    return f"sc:{tag(partition)}:meta"


def accounts(partition: int) -> str:
    """Return the key of the ids of the partition's accounts, deleted ones included."""
    return f"sc:{tag(partition)}:accounts"


def lost(partition: int) -> str:
    """Return the key of the lost feed entries that sidecars have reported (R48).

    ``:meta``: their range. ``:recovered``: signed records of recoveries. ``:leader``: process that recovers.
    ``:late``: entries reported after a recovery, by user.
    """
    return f"sc:{tag(partition)}:lost"


def account(acct: AccountId, partitions: int) -> str:
    """Return the key of the account."""
    return f"sc:{tag(partition_of(acct, partitions))}:a:{acct}"


def names() -> str:
    """Return the key of: folded account name -> account id. Names are unique in the store, so it is in partition 0."""
    return f"sc:{tag(0)}:names"


def system_log() -> str:
    """Return the key of the audit log of events outside all accounts: policy, keys, the store itself."""
    return f"sc:{tag(0)}:sys"


def policy() -> str:
    """Return the key of: generation of the policy -> order of its activation. In partition 0: it is of no account.

    ``:active``: record of the active generation. ``:g:ID``: its files. ``:candidate``, ``:marks``: an application in
    progress, and the answer of each sidecar. ``:history``: all applications.
    """
    return f"sc:{tag(0)}:policy"


def folded(name: str) -> str:
    """Return the form in which account names are compared. A text that is no valid name is returned unchanged."""
    folded = text.fold(name, MAX_NAME)
    return name if folded is None else folded.strip()


def email_hint(email: str, partitions: int) -> str:
    """Return the key of the accounts that may have the normalised e-mail. Key names contain no personal data."""
    digest = hashlib.sha256(email.encode("utf-8")).hexdigest()
    return f"sc:{tag(partition_of(digest, partitions))}:em:{digest}"


def limit(kind: str, subject: str, partitions: int) -> str:
    """Return the key of a limiter's bucket. ``subject`` is hashed: key names contain no e-mails or addresses."""
    digest = hashlib.sha256(f"{kind}\0{subject}".encode()).digest()
    bucket = int.from_bytes(digest[:8], "big") % LIMIT_BUCKETS
    return f"sc:{tag(bucket % partitions)}:rl:{kind}:{bucket:05x}"
