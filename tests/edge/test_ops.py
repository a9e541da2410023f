"""The operator's listener: its metrics say what /readyz says, and come also when the store hangs."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.edge import ops
from sidecar.telemetry.metrics import Metrics


async def said(failing: Callable[[], Awaitable[list[str]]]) -> str:
    call: Any = SimpleNamespace(
        parts=SimpleNamespace(metrics=Metrics("1"), vitals=SimpleNamespace(failing=failing)),
    )
    body = (await ops.metrics(call)).body
    assert isinstance(body, bytes)
    return body.decode()


@pytest.mark.parametrize(("found", "ready"), [([], 1.0), (["store"], 0.0), (["draining"], 0.0)])
async def test_ready_is_what_readyz_says(found: list[str], ready: float) -> None:
    async def failing() -> list[str]:
        return found

    assert f"\nsidecar_ready {ready}\n" in await said(failing)


async def test_a_store_that_hangs_takes_no_metrics_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs() -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(ops, "READY_SECONDS", 0.01)
    assert "\nsidecar_ready 0.0\n" in await asyncio.wait_for(said(hangs), 20)
