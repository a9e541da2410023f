"""Who stands behind a token that holds. The value alone."""

import msgspec

from sidecar.domain.users import UserRecord
from sidecar.tokens.claims import Claims


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What the token claims and the live record that bears it out."""

    claims: Claims
    record: UserRecord
