"""Defaults of SIDECAR_POLICY_DIR and SIDECAR_MODEL: the policy of the working folder, or the packaged one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.sources.policy_files import packaged

HERE = (Path("policy"), Path("model.conf"))
"""Policy of the working folder."""


def policy_dir(_: Mapping[str, Any]) -> Path:
    """Return the default of SIDECAR_POLICY_DIR."""
    return (HERE if _begun() else packaged())[0]


def model(_: Mapping[str, Any]) -> Path:
    """Return the default of SIDECAR_MODEL."""
    return (HERE if _begun() else packaged())[1]


def _begun() -> bool:
    """Return True if the working folder has a policy, in any state.

    An incomplete policy or a dangling link must be reported as an error. The packaged policy in its place would grant
    access that the operator has not allowed (R25).
    """
    return any(map(_is_there, HERE))


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:  # inaccessible: it may exist
        return True
    return True
