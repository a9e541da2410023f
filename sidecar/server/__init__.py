"""Composition root: settings, parts, listeners, signals. The only package that builds the others."""
