"""Renames of roles, sections and actions: text edits of the policy files, and their recognition in a comparison."""
