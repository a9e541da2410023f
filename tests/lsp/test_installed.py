"""Libraries of the language server's tests. Without them, the other modules of this folder are left out."""

from importlib.util import find_spec

import pytest


def test_the_libraries_of_the_tests_are_installed() -> None:
    missing = [name for name in ("pytest_lsp", "pygls", "lsprotocol") if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}: pip install -e '.[test]'")
