"""Offline work on the data: checks, backup, restore, schema migration."""
