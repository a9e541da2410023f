"""``sidecar init``: writes a commented starter policy, or files for monitoring. Overwrites nothing, and writes all
files or none."""

from collections.abc import Mapping
from pathlib import Path

import click

from sidecar.cli.output import OK, plain, usage_error
from sidecar.policy.diagnostics import MODEL_FILE, OPTIONAL_FILES, POLICY_FILES
from sidecar.sources.policy_files import packaged

README = "README.md"
"""The policy files refer to it."""

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
MINIMAL = TEMPLATES / "minimal"
"""Policy files with what the sidecar requires, and one example section."""

PURPOSES = {"observability": ("alerts.yml", "dashboard.json")}
"""Files in the folder of a purpose in ``TEMPLATES``: rules for Prometheus, a dashboard for Grafana."""


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--minimal", is_flag=True, help="Only what must exist, and one example section.")
@click.option("--for", "purpose", type=click.Choice(list(PURPOSES)), help="Write files for this purpose instead.")
def init(directory: str, minimal: bool, purpose: str | None) -> int:
    """Write a starter policy into DIR: DIR/policy and DIR/model.conf, with comments that explain every file.

    It is the packaged policy, with its README. With --minimal it has the sections users, policy, audit and
    account-settings, the roles account-administrator and member, and one section as an example. With --for
    observability it is alerts.yml, alert rules for Prometheus, and dashboard.json, a dashboard for Grafana. If one of
    the files exists, nothing is written.
    """
    target = Path(directory)
    if purpose is not None:
        if minimal:
            raise usage_error("--minimal is for a policy: leave out --minimal or --for")
        folder, sources = target, {target / name: TEMPLATES / purpose / name for name in PURPOSES[purpose]}
    else:
        folder, sources = target / "policy", _policy(target, minimal=minimal)
    for path in sources:
        if path.exists() or path.is_symlink():
            raise usage_error(f"{path}: exists already; choose another directory, or remove it")
    _write(folder, sources)
    for path in sources:  # last: a failing stdout must not leave half a policy
        click.echo(plain(str(path)))
    return OK


def _policy(target: Path, *, minimal: bool) -> dict[Path, Path]:
    """Return the sources of a policy by the files to write."""
    policy, model = packaged()
    files = [name for name in POLICY_FILES if not (minimal and name in OPTIONAL_FILES)]
    sources = {target / "policy" / name: (MINIMAL if minimal else policy) / name for name in files}
    return {**sources, target / "policy" / README: policy / README, target / MODEL_FILE: model}


def _write(folder: Path, sources: Mapping[Path, Path]) -> None:
    written: list[Path] = []
    at = folder
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(0o755)  # despite the umask: group-writable files are not trusted
        for at, source in sources.items():
            content = source.read_bytes()
            with at.open("xb") as file:
                written.append(at)
                file.write(content)
            at.chmod(0o644)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise usage_error(f"{error.filename or at}: {error.strerror}") from error
