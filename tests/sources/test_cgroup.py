"""The memory limit of the control group, as versions 1 and 2 write it."""

from pathlib import Path

import pytest

from sidecar.sources.cgroup import memory_limit

MIB = 1024**2
V1 = "sys/fs/cgroup/memory"
V2 = "sys/fs/cgroup"
NO_LIMIT = "9223372036854771712\n"
GROUP = "proc/self/cgroup"
MACHINE = memory_limit(Path("/nowhere"))


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({GROUP: "0::/\n", f"{V2}/memory.max": f"{384 * MIB}\n"}, 384 * MIB),
        ({GROUP: "0::/\n", f"{V2}/memory.max": "max\n"}, MACHINE),
        (
            {GROUP: "0::/a/b\n", f"{V2}/a/b/memory.max": "max\n", f"{V2}/a/memory.max": f"{64 * MIB}\n"},
            64 * MIB,
        ),
        ({GROUP: "0::/a/b\n", f"{V2}/memory.max": f"{64 * MIB}\n"}, 64 * MIB),
        (
            {
                GROUP: "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
                f"{V1}/x/memory.limit_in_bytes": f"{96 * MIB}\n",
                f"{V1}/memory.limit_in_bytes": NO_LIMIT,
            },
            96 * MIB,
        ),
        ({GROUP: "4:memory:/\n", f"{V1}/memory.limit_in_bytes": NO_LIMIT}, MACHINE),
        ({GROUP: "0::/\n", f"{V2}/memory.max": "lots\n"}, MACHINE),
        ({GROUP: "nonsense\n"}, MACHINE),
    ],
    ids=["v2", "v2 without", "v2 of a parent", "v2 outside the mount", "v1", "v1 without", "no number", "no form"],
)  # fmt: skip
def test_the_least_limit_of_the_groups_counts(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    assert memory_limit(tree(tmp_path, files)) == min(limit, MACHINE)


def test_a_machine_without_groups_has_its_own_memory() -> None:
    assert MACHINE > 0
    assert memory_limit() <= MACHINE
