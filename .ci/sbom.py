"""Write the SBOM of a release: `sbom.py VERSION FILE`. CycloneDX 1.6: the components of runtime.lock, with hashes."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(version: str, target: Path) -> None:
    """Run cyclonedx-py, which validates its output, and name version, package and direct dependencies in it."""
    words = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", ".ci/runtime.lock"]
    words += ["--pyproject", "pyproject.toml", "--mc-type", "application", "--sv", "1.6", "--of", "JSON"]
    words += ["--output-reproducible", "-o", str(target)]
    subprocess.run(words, check=True, cwd=ROOT)  # noqa: S603 - its arguments are above
    document = json.loads(target.read_text(encoding="utf-8"))
    root = document["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/{root['name']}@{version}"}
    for component in document["components"]:
        component.pop("description", None)  # the line of the lock, which the other members have
    wanted = direct()
    used = sorted(one["bom-ref"] for one in document["components"] if one["name"] in wanted)
    if len(used) != len(wanted):
        raise SystemExit(f"runtime.lock lacks some of {', '.join(sorted(wanted))}: run .ci/lock")
    entry = next(one for one in document["dependencies"] if one["ref"] == root["bom-ref"])
    entry["dependsOn"] = used
    target.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def direct() -> set[str]:
    """Return the names of the direct dependencies of the image: of the package, and of its extra [grpc]."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["grpc"]]
    return {re.split(r"[\[<>=!~;\s]", one, maxsplit=1)[0].lower() for one in listed}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute())
