"""``sidecar policy export``: the files of a generation in the store, as a directory."""

from pathlib import Path

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import OK, usage_error
from sidecar.cli.policy.stored import is_generation, stored_files
from sidecar.cli.store_session import run_with_store
from sidecar.policy.diagnostics import MODEL_FILE, POLICY_FILES
from sidecar.server.admin_context import AdminContext


@click.command()
@click.argument("generation", metavar="GENERATION")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@settings_options(STORE)
def export(generation: str, directory: Path, **flags: str | None) -> int:
    """Write the files of a generation into a new or empty directory, with model.conf beside them.

    GENERATION: id, or at least its first 8 digits, as `sidecar policy history` shows them.
    """
    if not is_generation(generation):
        raise usage_error(f'invalid generation "{generation}": give 8 to 32 hex digits')
    if directory.exists() and any(directory.iterdir()):
        raise usage_error(f"{directory}: is not empty: name a new directory")

    async def job(operator: AdminContext) -> dict[str, bytes]:
        return (await stored_files(operator, generation))[1]

    files = run_with_store(settings_from(flags), job)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            if name == MODEL_FILE or name in POLICY_FILES:
                (directory / name).write_bytes(content)
    except OSError as error:
        raise usage_error(f"{error.filename}: cannot be written: {error.strerror}") from None
    click.echo(f"{len(files)} files in {directory}")
    return OK
