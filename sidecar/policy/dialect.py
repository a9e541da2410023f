"""Version of the language of the policy files."""

from typing import Final

DIALECT: Final = 1
"""Rises when files may have something that earlier versions reject or read in another way."""
