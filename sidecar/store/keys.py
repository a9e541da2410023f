"""Every key name, and which partition it lives in. No command is issued here.

All keys of one account, and the feed they are announced in, share one hash tag ``{pNN}``: one script can touch them
on a Cluster too. Keys below an account's are derived inside the scripts, from the account's own.
"""

import hashlib
from binascii import crc_hqx
from typing import Final

from sidecar.domain import text
from sidecar.domain.users import AccountId

META: Final = "sc:meta"
MAX_NAME: Final = 400
"""Characters of an account's name as typed: those of identity/display_names.py, before they are composed."""

LIMIT_BUCKETS: Final = 1 << 20
"""R16: limiter keys fall into fixed buckets, so that nobody can fill the store with them."""


def partition_of(subject: str, partitions: int) -> int:
    """The same CRC16 that Redis hashes slots with (XMODEM); any stable hash would do."""
    if partitions == 1:
        return 0
    return crc_hqx(subject.encode("utf-8"), 0) % partitions


def tag(partition: int) -> str:
    return f"{{p{partition:02d}}}"


def feed(partition: int) -> str:
    """The stream; ``:n`` its counter, ``:gen`` the random id of this data set."""
    return f"sc:{tag(partition)}:feed"


def sidecars(partition: int) -> str:
    """Sidecar id -> end of its registration in ms (Redis clock); ``:applied`` its last n, ``:told`` its state."""
    return f"sc:{tag(partition)}:side"


def partition_meta(partition: int) -> str:
    """Copy of ``sc:meta`` in the partition's own slot: proven with each registration (R46)."""
    return f"sc:{tag(partition)}:meta"


def accounts(partition: int) -> str:
    """Ids of the partition's accounts, deleted ones too."""
    return f"sc:{tag(partition)}:accounts"


def lost(partition: int) -> str:
    """Lost feed entries that sidecars know (R48); ``:meta`` how far they go, ``:recovered`` signed records of
    recoveries, ``:leader`` the process that recovers, ``:late`` entries told after a recovery, by user."""
    return f"sc:{tag(partition)}:lost"


def account(acct: AccountId, partitions: int) -> str:
    return f"sc:{tag(partition_of(acct, partitions))}:a:{acct}"


def names() -> str:
    """Folded account name -> account id. In the first partition: an account's name is unique in the whole store."""
    return f"sc:{tag(0)}:names"


def system_log() -> str:
    """The audit of what belongs to no account: policy, keys, the store itself."""
    return f"sc:{tag(0)}:sys"


def folded(name: str) -> str:
    """What two account names are compared by. A text that can be no account's name is compared as it is."""
    folded = text.fold(name, MAX_NAME)
    return name if folded is None else folded.strip()


def email_hint(email: str, partitions: int) -> str:
    """Accounts in which this normalised e-mail may be found. By digest: the name of a key is no place for people."""
    digest = hashlib.sha256(email.encode("utf-8")).hexdigest()
    return f"sc:{tag(partition_of(digest, partitions))}:em:{digest}"


def limit(kind: str, subject: str, partitions: int) -> str:
    """A limiter's bucket. ``subject`` is hashed: neither e-mails nor addresses stand in key names."""
    digest = hashlib.sha256(f"{kind}\0{subject}".encode()).digest()
    bucket = int.from_bytes(digest[:8], "big") % LIMIT_BUCKETS
    return f"sc:{tag(bucket % partitions)}:rl:{kind}:{bucket:05x}"
