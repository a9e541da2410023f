"""Who stands behind a token that holds. The value alone."""

import msgspec

from sidecar.tokens.claims import Claims
from sidecar.vocabulary.people import UserRecord


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What the token claims and the live record that bears it out."""

    claims: Claims
    record: UserRecord
