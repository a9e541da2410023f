"""nginx in front of several sidecars: a rolling restart is no outage. One is down, then back while the next is."""

import re
from collections.abc import Callable

import pytest

from tests.gateways.rig.bench import Bench
from tests.gateways.rig.outcomes import MEDIA
from tests.gateways.rig.relay import Mode, Relay
from tests.gateways.rig.rows import request


def two_sidecars(port: int, *, setting: bool) -> Callable[[str], str]:
    """The shipped file with a second server in its upstream. One worker, because each worker counts
    failures by itself.
    """

    def edit(text: str) -> str:
        line = re.search(r"upstream sidecar +\{ (server 127\.0\.0\.1:)\d+( max_fails=0); ", text)
        assert line is not None, "the shipped file has the setting"
        text = text.replace(line[0], f"{line[0]}{line[1]}{port}{line[2]}; ").replace("processes auto", "processes 1")
        return text if setting else text.replace(" max_fails=0", "")

    return edit


@pytest.mark.parametrize("setting", [True, False])
def test_a_rolling_restart_is_no_outage(bench: Bench, setting: bool) -> None:
    """Without ``max_fails=0`` nginx marks a server as down for ten seconds after one failure, also if no
    other is left.
    """
    other = Relay(bench.sidecar.port)
    bench.loop.run(other.start())
    try:
        lane = bench.start("nginx", edit=two_sidecars(other.port, setting=setting))
        raw = request(MEDIA, token="marketer").replace(b"<<marketer>>", bench.cast.tokens["marketer"].encode())

        def statuses() -> set[int]:
            return {lane.ask(raw)[0].status for _ in range(12)}

        assert statuses() == {200}
        bench.loop.run(other.become(Mode.REFUSE))
        assert statuses() == {200}
        bench.loop.run(other.become(Mode.PASS))
        lane.become(Mode.REFUSE)
        assert statuses() == ({200} if setting else {500})
    finally:
        bench.loop.run(other.stop())
