"""The composition root: settings, parts, listeners, signals. The only room that builds others."""
