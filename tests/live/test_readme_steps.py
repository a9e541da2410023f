"""Run sidecar/server/README.md, "For real": a server, an account, a sign-in, a check, and a revoked token."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.live.conftest import Start
from tests.live.support import ROOT, sidecar_env

ACTIVATE = ". .venv/bin/activate"


def steps() -> list[str]:
    """Return the shell blocks of the chapter."""
    chapter = (ROOT / "sidecar/server/README.md").read_text().partition("## For real\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)


def test_a_reader_can_do_what_it_says(start: Start, tmp_path: Path) -> None:
    serve, *others = steps()
    assert serve.splitlines()[-1] == "sidecar serve"
    assert "export SIDECAR_ISSUER=https://" in serve, "an issuer independent of the public URL"
    assert others[0].startswith(ACTIVATE)
    process = start()
    script = "set -e\n" + "".join(others).replace(ACTIVATE, "").replace("http://127.0.0.1:9181", process.url)
    program = tmp_path / "bin" / "sidecar"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sidecar "$@"\n')
    program.chmod(0o755)
    environment = sidecar_env(process.settings)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**environment, "PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"HTTP/1.1 (\d+)", done.stdout) == ["200", "401"]
    assert "X-Auth-Reason: revoked" in done.stdout
    assert "bob@acme.example" in done.stdout
