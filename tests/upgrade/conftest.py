"""Sidecars of the live tests, for the tests of upgrades."""

from tests.live.conftest import http, start

__all__ = ["http", "start"]
