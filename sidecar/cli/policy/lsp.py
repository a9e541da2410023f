"""``sidecar policy lsp``: language server for editors, over standard input and output."""

import click

from sidecar.cli.output import usage_error


@click.command()
@click.option("--policy-dir", metavar="DIR", help="Policy folder, relative to the editor's folders. Default: found.")
@click.option("--model", metavar="FILE", help="Model, relative to the editor's folders. Default: model.conf.")
@click.option("--stdio", is_flag=True, expose_value=False, help="Accepted, because some clients add it; the default.")
def lsp(policy_dir: str | None, model: str | None) -> int:
    """Serve an editor: diagnostics, fixes, completion, hover, rename.

    The server reads the policy files in the editor's folders. It writes no file and runs no program. Needs the extra:
    pip install 'policy-sidecar[lsp]'. The README of the policy has the settings of several editors.
    """
    try:
        from sidecar.lsp.folders import Override
        from sidecar.lsp.server import serve_stdio
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol", "cattrs", "attrs"):
            raise
        message = f"{error.name} is not installed: pip install 'policy-sidecar[lsp]'"
        raise usage_error(message) from error
    return serve_stdio(Override(policy_dir, model))
