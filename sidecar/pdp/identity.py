"""Identity of a valid token, as a value."""

import msgspec

from sidecar.domain.users import UserRecord
from sidecar.tokens.claims import Claims


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Claims of a token, and the live record that confirms them."""

    claims: Claims
    record: UserRecord
