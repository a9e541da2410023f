"""Outcomes shared by many rows, and the two paths that most of them target."""

from tests.gateways.rig.rows import Allow, Deny

MEDIA = "/dashboard/media-library/"
BILLING = "/dashboard/billing/"

MARKETER = Allow("marketer", "media-library", "view")
UPLOAD = Allow("marketer", "media-library", "upload")
NOT_THEIRS = Deny(403, "no_rule")
ANONYMOUS = Deny(401, "missing_token")
UNMATCHED = Deny(403, "unmatched_path")
AMBIGUOUS = Deny(403, "ambiguous_path")
BAD = Deny(403, "bad_request")
CROSS_SITE = Deny(403, "cross_site")
REFUSED = Deny(400)
"""The gateway's own rejection, before the check."""


def malformed(status: int) -> Deny:
    """The sidecar's HTTP parser rejects the check itself with 400; ``status`` is the gateway's response to that."""
    return Deny(status, "no reason")
