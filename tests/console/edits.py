"""Edits of the shipped policy in the box "Try an edit" of the page Policy."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.console.visitor import Visitor, expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator

POLICY_FOLDER = Path(__file__).parents[2] / "policy"
POLICY = (POLICY_FOLDER / "policy.csv").read_text()
OPENED = "p, marketer, billing, view, allow\n"
MISSPELT = "p, marketeer, billing, view, allow\np, marketeer, billing, change-plan, allow\n"
"""Two lines of one finding."""


def renamed_and_opened() -> dict[str, bytes]:
    """Return the files with the section media-library renamed to assets, and a rule more. Paths of routes stay."""
    names = ("policy.csv", "sections.toml", "expectations.csv", "routes.csv")
    files = {name: (POLICY_FOLDER / name).read_bytes() for name in names}
    renamed = {name: re.sub(rb"(?<!/)\bmedia-library\b", b"assets", content) for name, content in files.items()}
    return {**renamed, "policy.csv": renamed["policy.csv"] + OPENED.encode()}


def choose_files(visitor: Visitor, files: dict[str, bytes]) -> None:
    field = visitor.field("Drop files here, or choose them")
    field.set_input_files(
        [{"name": name, "mimeType": "text/plain", "buffer": content} for name, content in files.items()]
    )


def report(visitor: Visitor) -> "Locator":
    """Ask for a preview of the edit. Returns its report."""
    visitor.button("Preview this edit").click()
    found = visitor.page.locator(".report")
    expect(found.get_by_role("heading", level=3)).to_be_focused()
    return found
