"""The shipped policy with conditions and needs, for the console's tests."""

from pathlib import Path

from sidecar.sources.policy_files import packaged, read_policy_files
from tests.policy.needs_policies import with_needs

CONDITIONS = """
[second_factor]
wait = "0s"
[conditions.second-factor]
title = "Second factor"
second_factor = true
[conditions.office]
title = "Office network"
networks = ["192.0.2.0/24"]
"""
NEEDS = """
needs, account-administrator, audit, view, second-factor
needs, account-administrator, users, manage, second-factor
needs, account-administrator, policy, view, office
needs, accountant, billing, change-plan, second-factor
"""
TESTS = """
deny, account-administrator, audit, view, without second-factor
deny, account-administrator, users, manage, without second-factor
deny, account-administrator, policy, view, without office
deny, accountant, billing, change-plan, without second-factor
"""


def policy_folder(folder: Path) -> Path:
    """Write the policy into a new folder, and return it."""
    folder.mkdir()
    for name, content in with_needs(read_policy_files(*packaged()).files, NEEDS, TESTS, CONDITIONS).items():
        (folder / Path(name).name).write_bytes(content)
    return folder
