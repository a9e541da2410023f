"""The words that every room shares. Imports nothing of ours and nothing that does I/O."""
