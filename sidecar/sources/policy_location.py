"""Default of SIDECAR_POLICY_DIR and SIDECAR_MODEL: the working folder's policy, or the packaged one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.sources.policy_files import packaged

HERE = (Path("policy"), Path("model.conf"))
"""The policy of the working folder."""


def policy_dir(_: Mapping[str, Any]) -> Path:
    return (HERE if _begun() else packaged())[0]


def model(_: Mapping[str, Any]) -> Path:
    return (HERE if _begun() else packaged())[1]


def _begun() -> bool:
    """Whether somebody keeps a policy here, whatever state it is in. Half of one, or a link to nothing, is a mistake
    to be told: another policy in its place would open what nobody here has allowed (R25)."""
    return any(map(_is_there, HERE))


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:  # what may not be looked at may be there
        return True
    return True
