"""``sidecar init``: a commented starter policy in a folder. Never writes over anything."""

from pathlib import Path

import click

from sidecar.cli.output import OK, plain, wrong
from sidecar.policy.diagnostics import MODEL_FILE, POLICY_FILES
from sidecar.sources.policy_files import packaged


@click.command()
@click.argument("directory", metavar="DIR")
def init(directory: str) -> int:
    """Write a starter policy into DIR: DIR/policy and DIR/model.conf, with comments that explain every file.

    It is the policy that ships with the sidecar. A file that is there already stops it before anything is written.
    """
    target = Path(directory)
    policy, model = packaged()
    sources = {target / "policy" / name: policy / name for name in POLICY_FILES}
    sources[target / MODEL_FILE] = model
    for path in sources:
        if path.exists() or path.is_symlink():
            raise wrong(f"{path}: is there already; name another folder, or take it away")
    try:
        (target / "policy").mkdir(parents=True, exist_ok=True)
        for path, source in sources.items():
            with path.open("xb") as file:
                file.write(source.read_bytes())
            path.chmod(0o644)  # whatever the umask: a file that a group can write is refused
            click.echo(plain(str(path)))
    except OSError as error:
        raise wrong(f"{error.filename}: {error.strerror}") from error
    return OK
