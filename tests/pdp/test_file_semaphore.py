"""Slots shared by processes: the first free one, none if all are taken; a slot is free once its holder has exited."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.domain.users import AccountId
from sidecar.pdp import preview as previewing
from sidecar.pdp.compile import file_semaphore
from sidecar.pdp.preview import PreviewBusy, PreviewResult, Previews
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.sources.policy_files import packaged, read_policy_files

ROOT = Path(__file__).resolve().parents[2]


def test_a_slot_is_held_until_it_is_closed(tmp_path: Path) -> None:
    first, second = file_semaphore.take(tmp_path, ["a", "b"]), file_semaphore.take(tmp_path, ["a", "b"])
    assert first is not None
    assert second is not None
    assert file_semaphore.take(tmp_path, ["a", "b"]) is None
    first.close()
    again = file_semaphore.take(tmp_path, ["a", "b"])
    assert again is not None
    for held in (second, again):
        held.close()


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from sidecar.pdp import slots; slots.take(pathlib.Path(sys.argv[1]), ['a']); print(1)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program + "; input()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    held = file_semaphore.take(tmp_path, ["a"])
    assert held is not None
    held.close()


async def test_R27_the_workers_of_a_sidecar_share_the_preview_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, hold = asyncio.Semaphore(0), asyncio.Event()

    async def child(_task: object) -> bytes:
        begun.release()
        await hold.wait()
        return b"{}"

    monkeypatch.setattr(previewing, "run", child)
    current = compile_policy(read_policy_files(*packaged()).files, proof=ProofScope.NONE).generation
    assert current is not None
    workers = [Previews(tmp_path) for _ in range(3)]

    def ask(worker: int, account: str) -> "asyncio.Task[object]":
        return asyncio.create_task(workers[worker].preview(AccountId(account), current, {}, {}))

    first = ask(0, "acc_one")
    await begun.acquire()
    assert await ask(1, "acc_one") == PreviewBusy(), "one at a time per account, on any worker"
    second = ask(1, "acc_two")
    await begun.acquire()
    assert await ask(2, "acc_three") == PreviewBusy(), "two per sidecar"
    hold.set()
    assert [await first, await second] == [PreviewResult(b"{}")] * 2
    assert await ask(2, "acc_one") == PreviewResult(b"{}")
