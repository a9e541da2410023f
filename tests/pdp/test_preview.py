"""Previews: changed decisions and affected users, and the limits on cost."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import thread_time

import pytest
from msgspec.structs import replace

from sidecar.domain.users import AccountId
from sidecar.pdp.compile import process
from sidecar.pdp.compile.process import CompileProcessError
from sidecar.pdp.compile.protocol import PROGRAM_VERSION, CompileTask, CurrentPolicy, encode_task
from sidecar.pdp.compile.report import MAX_ANSWER, preview
from sidecar.pdp.preview import LIMITS, MEMORY_SHARE, PreviewBusy, Previews, PreviewTooLarge
from sidecar.pdp.preview import _rules as rules_in
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.policy.needs.compare import NeedComparer
from sidecar.policy.rename.detect import detect_renames
from sidecar.policy.rename.names import RenameKind
from sidecar.policy.rename.plan import renamed_files
from sidecar.policy.rename.target import RenameTarget
from sidecar.sources.cgroup import memory_limit
from sidecar.sources.policy_files import packaged, read_policy_files

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
    task.write_bytes(b"".join(encode_task(CompileTask(shipped, current=CurrentPolicy.of(compiled_from(shipped))))))
    program = (
        "import sys, sidecar.pdp.compile.main as child; child.main();"
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


# -- content -----------------------------------------------------------------------------------------------------------


def test_people_are_named_at_the_cells_of_their_role(shipped: dict[str, bytes]) -> None:
    files = {**shipped, "policy.csv": shipped["policy.csv"] + b"p, marketer, billing, view, allow\n"}
    max_ = {"id": "usr_x", "email": "max@example.com"}
    told = json.loads(preview(compiled_from(shipped), files, {"marketer": [max_], "developer": [{"id": "usr_y"}]}))
    assert told["valid"] is True
    assert [change["users"] for change in told["changes"]] == [[max_]]
    assert told["expectations"]["failed"][0]["got"] == "allow"


def test_renames_are_taken_out_and_people_named_at_the_rest(shipped: dict[str, bytes]) -> None:
    current = compiled_from(shipped)
    files = dict(shipped)
    for kind, old, new in ((RenameKind.ROLE, "marketer", "brand"), (RenameKind.SECTION, "media-library", "assets")):
        before = compiled_from(files)
        files.update(renamed_files(files, RenameTarget(kind, old, new), before))
    max_ = {"id": "usr_x", "email": "max@example.com"}
    told = json.loads(preview(current, files, {}))
    assert (told["valid"], told["changes"], told["routes"]) == (True, [], [])
    assert [(one["kind"], one["from"], one["to"]) for one in told["renames"]] == [
        ("section", "media-library", "assets"),
        ("role", "marketer", "brand"),
    ]
    files["policy.csv"] += b"p, brand, billing, view, allow\n"
    told = json.loads(preview(current, files, {"marketer": [max_]}))
    assert told["valid"] is False, "Max holds the old role"
    assert [one["code"] for one in told["diagnostics"]][-1] == "role-in-use"
    assert [(one["role"], one["users"]) for one in told["changes"]] == [("brand", [max_])]
    assert [one["changes"] for one in told["renames"]] == [0, 1]


def test_many_renames_take_linear_time(shipped: dict[str, bytes]) -> None:
    """1,500 names replaced, all alike: the comparison of pairs would take minutes."""

    def numbered(letter: str) -> dict[str, bytes]:
        sections = "".join(
            f'\n[sections.{letter}{n}]\ntitle = "S {n}"\nactions = ["view"]\n'
            f'routes = [{{ path = "/x/{n}", methods = ["GET"], action = "view" }}]\n'
            for n in range(1500)
        )
        roles = "".join(f'\n[roles.{letter}{n}]\ntitle = "R {letter} {n}"\n' for n in range(1500))
        return {
            **shipped,
            "sections.toml": shipped["sections.toml"] + sections.encode(),
            "roles.toml": shipped["roles.toml"] + roles.encode(),
        }

    before, after = (compile_policy(numbered(letter), proof=ProofScope.NONE).draft for letter in "ab")
    assert before is not None
    assert after is not None
    begun = time.process_time()
    found = detect_renames(before, after, NeedComparer(before.needs, after.needs))
    assert time.process_time() - begun < 3
    assert (len(found.sections), len(found.roles)) == (1500, 0)


def test_an_invalid_edit_has_diagnostics_and_no_changes(shipped: dict[str, bytes]) -> None:
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
    assert await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {}) == PreviewBusy()


async def test_a_fault_of_ours_is_not_told_as_the_cost_of_an_edit(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PROGRAM", ("-c", "raise KeyError"))
    with pytest.raises(CompileProcessError):
        await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {})
    monkeypatch.setattr(process, "PROGRAM", ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)"))
    told = await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {})
    assert isinstance(told, PreviewTooLarge)
    assert "time or memory" in told.why


# -- limits ------------------------------------------------------------------------------------------------------------


def wide(shipped: Mapping[str, bytes], roles: int, sections: int, actions: int) -> dict[str, bytes]:
    """The shipped policy with that many additional roles, each of which may do everything."""
    names = json.dumps([f"a{number}" for number in range(actions)])
    declared = "".join(
        f'\n[sections.s{number}]\ntitle = "S {number}"\nactions = {names}\n' for number in range(sections)
    )
    held = "".join(f'\n[roles.r{number}]\ntitle = "R {number}"\ndescription = "d"\n' for number in range(roles))
    return {
        **shipped,
        "sections.toml": shipped["sections.toml"] + declared.encode(),
        "roles.toml": shipped["roles.toml"] + held.encode(),
        "policy.csv": shipped["policy.csv"] + "".join(f"p, r{n}, *, *, allow\n" for n in range(roles)).encode(),
    }


PEOPLE = [{"id": f"usr_{number:05}", "email": f"u{number}@example.com", "name": "N" * 100} for number in range(20_000)]


def test_R27_an_answer_is_bounded_and_counts_what_it_leaves_out(shipped: dict[str, bytes]) -> None:
    """Changes, users, failed tests, findings: each multiplied by the content of a mebibyte."""
    current = compiled_from(shipped)
    nothing = {"diagnostics": 0, "renames": 0, "changes": 0, "users": 0, "routes": 0, "failed": 0}
    assert json.loads(preview(current, shipped, {}))["omitted"] == nothing

    edited = wide(shipped, 90, 40, 24)
    raw = preview(current, edited, {})
    told = json.loads(raw)
    assert len(raw) <= MAX_ANSWER
    assert len(told["changes"]) + told["omitted"]["changes"] > 86_400
    assert told["omitted"]["changes"] > 0

    edited = {**shipped, "policy.csv": shipped["policy.csv"] + b"p, marketer, billing, view, allow\n"}
    raw = preview(current, edited, {"marketer": PEOPLE})
    told = json.loads(raw)
    assert len(raw) <= MAX_ANSWER
    assert [len(change["users"]) for change in told["changes"]] == [100]
    assert told["omitted"]["users"] == 19_900


def test_R27_findings_of_a_kind_are_bounded(shipped: dict[str, bytes]) -> None:
    rules = b"".join(b"p, nobody%d, nowhere, nothing, allow\n" % number for number in range(15_000))
    edited = {**shipped, "policy.csv": shipped["policy.csv"] + rules}
    raw = preview(compiled_from(shipped), edited, {})
    told = json.loads(raw)
    kinds = Counter(found["code"] for found in told["diagnostics"])
    assert max(kinds.values()) == 50
    assert told["omitted"]["diagnostics"] >= 450
    assert len(raw) < 128 * 1024


def test_R27_routes_and_failed_tests_are_bounded(shipped: dict[str, bytes]) -> None:
    public = "".join(
        f'\n[[public]]\npath = "/open/{number:05}/{"x" * 60}"\nmethods = ["GET"]\n' for number in range(4000)
    )
    tests = shipped["routes.csv"] + b"".join(b"unmatched, GET, /open/%05d/%s\n" % (n, b"x" * 60) for n in range(4000))
    edited = {**shipped, "sections.toml": shipped["sections.toml"] + public.encode(), "routes.csv": tests}
    raw = preview(compiled_from(shipped), edited, {})
    told = json.loads(raw)
    assert len(raw) < 512 * 1024
    assert len(told["routes"]) + told["omitted"]["routes"] >= 4000
    assert told["omitted"]["routes"] > 0
    assert len(told["expectations"]["failed"]) + told["omitted"]["failed"] >= 4000
    assert told["omitted"]["failed"] > 0


async def test_R27_the_largest_preview_fits_a_small_container(shipped: dict[str, bytes]) -> None:
    """The shipped manifests give 384 MiB; an eighth of it is 48."""
    limits = replace(LIMITS, memory_bytes=384 * 1024**2 // MEMORY_SHARE, cpu_seconds=120, seconds=120.0)
    task = CompileTask(
        wide(shipped, 90, 40, 24), current=CurrentPolicy.of(compiled_from(shipped)), people={}, limits=limits
    )
    assert json.loads(await process.run(task))["valid"] is True
    assert LIMITS.memory_bytes <= memory_limit() // MEMORY_SHARE
    assert LIMITS.cells == 100_000


async def test_R27_an_answer_over_its_bound_is_not_read_to_its_end(
    shipped: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PROGRAM", ("-c", "import sys\nwhile True: sys.stdout.write('x' * 65536)"))
    told = await Previews().preview(AccountId("acc_x"), compiled_from(shipped), {}, {})
    assert isinstance(told, PreviewTooLarge)
    assert "1,048,576 bytes" in told.why


@pytest.mark.parametrize(
    ("policy", "rules"),
    [
        (b"", 0),
        (b"p, a, b, c, allow", 1),
        (b"# p\n  # p\n\n \t\np, a\r\n  p, b\n\r\np", 3),
        (b"#\np\n" * 40_000, 40_000),
        (b" " * 1_000_000, 0),
        (b" \n" * 80_000, 0),
    ],
)
def test_R16_rules_are_counted_quickly(policy: bytes, rules: int) -> None:
    started = thread_time()
    assert rules_in(policy) == rules
    assert thread_time() - started < 0.05
