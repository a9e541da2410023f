"""Responses of the API about a policy, built by its own code, for the pure modules of the page Policy."""

import json
from typing import Any

import msgspec

from sidecar.api.policy import _shown
from sidecar.http.policy_schemas import PolicyRole, PolicySection
from sidecar.policy.generation import Generation

TITLES = "const titles = m.policyTitles(data.roles, data.sections, data.permissions);"
MARK = {"id": "usr_m", "email": "mark@example.com", "name": "Mark", "status": "active"}


def policy(generation: Generation) -> dict[str, Any]:
    """Return roles, sections, cells and titles, as the page reads them."""
    roles = [PolicyRole(one.id, one.title, one.description, one.assignable, []) for one in generation.roles.values()]
    sections = [PolicySection(one.id, one.title, list(one.actions)) for one in generation.sections.values()]
    cells = [_shown(cell, ruling, generation.needs) for cell, ruling in generation.cells.items()]
    titled = [{"section": "billing", "action": "change-plan", "action_title": "Change the plan"}]
    found = {"generation": generation.id, "roles": roles, "sections": sections, "cells": cells, "permissions": titled}
    return json.loads(msgspec.json.encode(found))
