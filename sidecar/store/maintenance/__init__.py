"""Maintenance of the data: consistency checks, backup, restore, issuer change, schema migration."""
