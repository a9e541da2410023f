"""Settings: the table, the sources of values, and their parsers."""
