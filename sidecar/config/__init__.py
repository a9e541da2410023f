"""Settings: the table, where values come from, and their parsers."""
