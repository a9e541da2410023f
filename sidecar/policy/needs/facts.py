"""Facts of one check that conditions are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from sidecar.domain.sessions import Proof

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Facts:
    """Known facts of one check. A fact that is not known meets no condition.

    ``signed_in_at`` and ``now``: Unix seconds. ``client``: the user's own address, None if it is not known. ``labels``:
    of the account. ``leeway``: seconds that a proof may lie in the future, for clocks that differ.
    """

    proofs: tuple[Proof, ...] = ()
    signed_in_at: int | None = None
    now: float = 0.0
    client: Address | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    leeway: float = 0.0
