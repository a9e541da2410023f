"""Fuzz a real sidecar with schemathesis: ``python -m tests.api.fuzz.run --max-examples 200 --seed 1``.

Starts ``sidecar serve`` on free ports with an account, an administrator and a PEP's key. Runs the served document
against it, once for the public listener and once for the ops listener. Exit status 0 if no check failed; the last line
has the number of cases.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.live.support import ROOT, Process, cli, sidecar_env
from tests.ports import free_port

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
OPS = "^/(livez|readyz|status|metrics)$"
EMAIL, PASSWORD = "ada@example.com", "five green bottles on a wall"
HOOKS = Path(__file__).with_name("hooks.py")
CONFIG = Path(__file__).with_name("schemathesis.toml")


@dataclass(frozen=True)
class Run:
    """Result of one run, and its number of cases."""

    status: int
    cases: int
    output: str


def fuzz(process: Process, key: str, *, max_examples: int, seed: int, report: Path, ops: bool) -> Run:
    """Run schemathesis once against a listener."""
    base = process.ops if ops else process.url
    events = report / f"{'ops' if ops else 'public'}.ndjson"
    words = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{process.url}/openapi.json",
        "--url", base, "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(max_examples), "--seed", str(seed), "--continue-on-failure", "--no-shrink",
        "--include-path-regex" if ops else "--exclude-path-regex", OPS,
        "--report", "ndjson", "--report-ndjson-path", str(events),
        "--suppress-health-check", "all",
    ]  # fmt: skip
    env = {**sidecar_env({}), "SCHEMATHESIS_HOOKS": str(HOOKS), "FUZZ_URL": process.url, "FUZZ_EMAIL": EMAIL,
           "FUZZ_PASSWORD": PASSWORD, "FUZZ_PEP_KEY": key, "NO_COLOR": "1"}  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    output = done.stdout + done.stderr
    return Run(done.returncode, cases(output), output)


def cases(output: str) -> int:
    found = re.search(r"([\d,]+) generated", output)
    return int(found[1].replace(",", "")) if found else 0


def faults(log: Path) -> Counter[str]:
    """Return the place and exception of each internal error that the sidecar logged."""
    found: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if "exception" in entry:
            found[f"{entry.get('endpoint')}: {entry['exception'].strip().splitlines()[-1]}"] += 1
    return found


def prepare(settings: dict[str, str]) -> str:
    """Create an account and a key for it; return the key."""
    words = ("account", "create", "Fuzz", "--admin-email", EMAIL, "--seats", "100000", "--password-stdin")
    made = cli(settings, *words, text=PASSWORD)
    assert made.returncode == 0, made.stderr
    key = cli(settings, "pep", "create", "fuzz", "--account", "Fuzz", "--rate", "1000000", "--json")
    assert key.returncode == 0, key.stderr
    return str(json.loads(key.stdout)["key"])


def serve(folder: Path) -> Process:
    settings = {
        "LISTEN": f"127.0.0.1:{free_port()}",
        "OPS_LISTEN": f"127.0.0.1:{free_port()}",
        "STATE_DIR": str(folder / "state"),
        "DECISION_LOG": "off",
        "LOG_FORMAT": "json",
        "DRAIN": "0s",
    }
    log = folder / "sidecar.log"
    with log.open("wb") as sink:
        popen = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "serve"], stdout=sink, stderr=sink, env=sidecar_env(settings), cwd=ROOT
        )
    url, ops = f"http://{settings['LISTEN']}", f"http://{settings['OPS_LISTEN']}"
    return Process(popen, url, ops, log, settings).wait_ready()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-examples", type=int, default=200, help="for each operation")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/tmp") as folder:
        process = serve(Path(folder))
        try:
            key = prepare(process.settings)
            runs = [
                fuzz(process, key, max_examples=wanted.max_examples, seed=wanted.seed, report=Path(folder), ops=ops)
                for ops in (False, True)
            ]
            found = faults(process.log)
        finally:
            process.popen.terminate()
            process.popen.wait(20)
    for run in runs:
        sys.stdout.write(run.output)
    sys.stdout.write("".join(f"{fault}: {number}\n" for fault, number in found.most_common(20)))
    sys.stdout.write(f"seed {wanted.seed}: {sum(run.cases for run in runs)} cases, {found.total()} faults in the log\n")
    return 1 if found or any(run.status for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
