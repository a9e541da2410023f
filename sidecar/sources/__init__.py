"""Readers of external files (policy files, key files, foreign key sets) that return values."""
