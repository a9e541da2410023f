"""Warning of conditions of networks that no check through a gateway can meet, because no proxy is trusted."""

from sidecar.pdp.decision_point import ActivePolicy
from sidecar.policy.generation import Generation
from sidecar.telemetry.app_log import logger

_log = logger("pdp")


def network_warnings(generation: Generation | None, *, proxies: bool) -> tuple[str, ...]:
    """Return the warning, if it applies. ``proxies``: SIDECAR_TRUSTED_PROXIES names one."""
    if proxies or generation is None or not generation.needs.cuts_networks:
        return ()
    used = {name for line in generation.needs.lines for name in line.conditions}
    names = [one.name for one in generation.needs.conditions.values() if one.networks and one.name in used]
    what = f"needs.csv names conditions of networks ({', '.join(names)}), but SIDECAR_TRUSTED_PROXIES is empty"
    return (f"{what}: no check of a gateway meets them: name the gateway's network",)


class NetworkWarnings:
    """Warnings of the active policy. Each generation is logged once."""

    def __init__(self, *, proxies: bool) -> None:
        self._proxies = proxies
        self._logged: str | None = None

    def of(self, policy: ActivePolicy) -> tuple[str, ...]:
        return network_warnings(policy.generation, proxies=self._proxies)

    def on_activation(self, policy: ActivePolicy) -> None:
        """Log the warnings of a generation that has just become active."""
        generation = policy.generation
        if generation is None or generation.id == self._logged:
            return
        self._logged = generation.id
        for warning in self.of(policy):
            _log.warning("conditions of the policy cannot be met", warning=warning)
