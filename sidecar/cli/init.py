"""``sidecar init``: writes a commented starter policy. Overwrites nothing, and writes all files or none."""

from collections.abc import Mapping
from pathlib import Path

import click

from sidecar.cli.output import OK, plain, usage_error
from sidecar.policy.diagnostics import MODEL_FILE, OPTIONAL_FILES, POLICY_FILES
from sidecar.sources.policy_files import packaged

README = "README.md"
"""The policy files refer to it."""

MINIMAL = Path(__file__).resolve().parents[1] / "templates" / "minimal"
"""Policy files with what the sidecar requires, and one example section."""


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--minimal", is_flag=True, help="Only what must exist, and one example section.")
def init(directory: str, minimal: bool) -> int:
    """Write a starter policy into DIR: DIR/policy and DIR/model.conf, with comments that explain every file.

    It is the packaged policy, with its README. With --minimal it has the sections users, policy, audit and
    account-settings, the roles account-administrator and member, and one section as an example. If one of the files
    exists, nothing is written.
    """
    target = Path(directory)
    policy, model = packaged()
    files = [name for name in POLICY_FILES if not (minimal and name in OPTIONAL_FILES)]
    sources = {target / "policy" / name: (MINIMAL if minimal else policy) / name for name in files}
    sources[target / "policy" / README] = policy / README
    sources[target / MODEL_FILE] = model
    for path in sources:
        if path.exists() or path.is_symlink():
            raise usage_error(f"{path}: exists already; choose another directory, or remove it")
    _write(target / "policy", sources)
    for path in sources:  # last: a failing stdout must not leave half a policy
        click.echo(plain(str(path)))
    return OK


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
