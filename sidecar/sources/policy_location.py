"""Location of the policy: defaults of SIDECAR_POLICY_DIR and SIDECAR_MODEL, and file names for operators.

The default is the policy of the working folder, or else the packaged one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from sidecar.policy.diagnostics import MODEL_FILE, POLICY_FILES, POLICY_FOLDER, Diagnostic
from sidecar.sources.policy_files import packaged

HERE = (Path("policy"), Path("model.conf"))
"""Policy of the working folder."""


_MENTION: Final = re.compile(
    rf"(?<![\w./-]){POLICY_FOLDER}/(?:{'|'.join(map(re.escape, POLICY_FILES))})(?![\w-])(?:(?=:)|(?!\.\w))"
)
"""File in a message, as the compiler writes it: ``policy/policy.csv``."""


@dataclass(frozen=True, slots=True)
class PolicyLocation:
    """Configured folder and model of a policy. The compiler knows neither: it writes ``policy/policy.csv``."""

    policy_dir: Path
    model: Path

    def name_of(self, path: str) -> str:
        """Return the local path of ``policy/policy.csv``, with a trailing ``:LINE`` kept."""
        file, colon, line = path.partition(":")
        if file == MODEL_FILE:
            file = str(self.model)
        elif file == POLICY_FOLDER or file.removeprefix(f"{POLICY_FOLDER}/") in POLICY_FILES:
            file = str(self.policy_dir / file.removeprefix(POLICY_FOLDER).removeprefix("/"))
        return file + colon + line

    def shown(self, diagnostic: Diagnostic) -> Diagnostic:
        """Return the diagnostic with paths that the operator can open."""
        message, hint = self.text(diagnostic.message), self.text(diagnostic.hint)
        return replace(diagnostic, file=self.name_of(diagnostic.file), message=message, hint=hint)

    def text(self, text: str) -> str:
        """Return a message with these paths."""
        return _MENTION.sub(lambda found: self.name_of(found[0]), text)


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
