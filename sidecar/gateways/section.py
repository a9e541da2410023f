"""``/check/sections/{section}[/{action}]``: the gateway's configuration names section and action."""

from sidecar.domain.access import Target
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import GatewayAdapter, GatewayRequest, alters_request

PREFIX = "/check/sections/"
DEFAULT_ACTION = "view"


def read(call: GatewayRequest) -> Target | Reason:
    """Return the target in the path, which is the check's own, undecoded and without query."""
    if not call.path.startswith(PREFIX) or alters_request(call.headers):
        return Reason.BAD_REQUEST
    names = call.path.removeprefix(PREFIX).split("/")
    match names:
        case [section] if section:
            return Target(section, DEFAULT_ACTION)
        case [section, action] if section and action:
            return Target(section, action)
        case _:
            return Reason.BAD_REQUEST


FAMILY = GatewayAdapter("/check/sections", read)
