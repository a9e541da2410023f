"""Shared types of all packages. Imports no other package of the project and no module that does I/O."""
