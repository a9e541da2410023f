"""Tests of the product: ``python -m pytest``."""
