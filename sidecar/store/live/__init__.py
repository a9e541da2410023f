"""Replica of the live records: change feed, record cache, direct reads, and the fleet's wait for changes."""
