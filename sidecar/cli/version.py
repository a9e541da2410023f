"""``sidecar version``: versions of the program and of its runtime."""

import platform
from importlib import metadata

import click

from sidecar import __version__
from sidecar.cli.output import json_option, print_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version."""
    if as_json:
        print_json(
            {"version": __version__, "python": platform.python_version(), "casbin": metadata.version("pycasbin")}
        )
    else:
        click.echo(f"policy-sidecar {__version__}")
