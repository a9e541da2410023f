"""Support for editors: places of names in buffers, and edits of them. Pure functions of the buffers' text."""
