"""One request id for the gateway, the check, the sidecar's log and the back end."""

import re

from tests.gateways.rig.bench import Bench
from tests.gateways.rig.outcomes import MEDIA
from tests.gateways.rig.rows import request

MADE = {"nginx", "caddy", "envoy", "envoy-grpc", "haproxy"}
"""Gateways that generate an id if the client sent none. Traefik generates none, and forwards the client's."""


def test_a_request_id_reaches_the_sidecar_and_the_back_end(bench: Bench, gateway: str) -> None:
    lane, token = bench.lane(gateway), bench.cast.tokens["marketer"]
    for given in ("abc-1.x_Y", ""):
        heads = len(lane.relay.heads)
        headers = (f"X-Request-ID: {given}",) if given else ()
        response, arrivals = lane.ask(request(MEDIA, *headers, f"Authorization: Bearer {token}"))
        assert (response.status, len(arrivals)) == (200, 1)
        ids = arrivals[0].values("x-request-id")
        assert len(ids) == int(bool(given) or gateway in MADE)
        if given and not gateway.startswith("envoy"):  # Envoy generates its own for a request from outside
            assert ids == [given]
        if ids and not lane.gateway.program.grpc:  # its checks are no text
            asked = re.findall(rb"(?im)^x-request-id: (\S+)\r$", lane.relay.heads[heads])
            assert asked == [ids[0].encode()]
            assert ids[0].encode() in lane.relay.answers[-1]
