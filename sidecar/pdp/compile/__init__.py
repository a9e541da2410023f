"""Compiles policies off the event loop: small ones in a low-priority thread, large ones in a subprocess."""
