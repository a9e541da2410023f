"""Previews: what an edit would change and for whom, and what it may cost."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.pdp import apart
from sidecar.pdp.apart import ChildFailed
from sidecar.pdp.foresight import preview
from sidecar.pdp.letters import PROGRAM_VERSION, Current, Task, letter
from sidecar.pdp.preview import Busy, Previews, TooLarge
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.vocabulary.people import AccountId

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shipped() -> dict[str, bytes]:
    return dict(read_policy_files(*packaged()).files)


def compiled_from(files: Mapping[str, bytes]) -> Generation:
    generation = compile_policy(files, proof=ProofScope.NONE).generation
    assert generation is not None
    return generation


def test_R27_a_preview_never_runs_the_proof(shipped: dict[str, bytes], tmp_path: Path) -> None:
    """Neither pycasbin nor the store is even loaded in the child."""
    task = tmp_path / "task"
    task.write_bytes(b"".join(letter(Task(shipped, current=Current.of(compiled_from(shipped))))))
    program = (
        "import sys, sidecar.pdp.apart_child as child; child.main();"
        "sys.exit(len({'casbin', 'redis', 'aiohttp'} & set(sys.modules)))"
    )
    with task.open("rb") as given:
        done = subprocess.run(
            [sys.executable, "-c", program, PROGRAM_VERSION],
            stdin=given,
            capture_output=True,
            timeout=30,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["valid"] is True


# -- what it says ------------------------------------------------------------------------------------------------------


def test_people_are_named_at_the_cells_of_their_role(shipped: dict[str, bytes]) -> None:
    files = {**shipped, "policy.csv": shipped["policy.csv"] + b"p, marketer, billing, view, allow\n"}
    max_ = {"id": "usr_x", "email": "max@example.com"}
    told = json.loads(preview(compiled_from(shipped), files, {"marketer": [max_], "developer": [{"id": "usr_y"}]}))
    assert told["valid"] is True
    assert [change["users"] for change in told["changes"]] == [[max_]]
    assert told["expectations"]["failed"][0]["got"] == "allow"


def test_changes_are_shown_although_the_tests_fail_and_not_when_nothing_is_meant(shipped: dict[str, bytes]) -> None:
    current = compiled_from(shipped)
    told = json.loads(preview(current, {**shipped, "policy.csv": b"p, nobody, billing, view, allow\n"}, {}))
    assert (told["valid"], told["changes"], told["routes"]) == (False, [], [])
    without = {name: content for name, content in shipped.items() if name != "expectations.csv"}
    told = json.loads(preview(current, without, {}))
    assert told["valid"] is False
    assert [found["code"] for found in told["diagnostics"]] == ["missing-file"]


async def test_a_machine_without_a_process_to_spare_is_busy(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {}) == Busy()


async def test_a_fault_of_ours_is_not_told_as_the_cost_of_an_edit(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PROGRAM", ("-c", "raise KeyError"))
    with pytest.raises(ChildFailed):
        await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {})
    monkeypatch.setattr(apart, "PROGRAM", ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)"))
    told = await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {})
    assert isinstance(told, TooLarge)
    assert "time or memory" in told.why
