"""Programs of Debian that the tests call: promtool of ``prometheus``, fail2ban-regex of ``fail2ban``."""

import shutil

import pytest


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: apt-get install --no-install-recommends {package}")
    return found


@pytest.fixture
def promtool() -> str:
    return program("promtool", "prometheus")


@pytest.fixture
def fail2ban_regex() -> str:
    return program("fail2ban-regex", "fail2ban")
