"""AuthZEN 1.0: what a PEP asks with a key of its own. Translates; ``pdp.evaluation`` and ``pdp.search`` answer."""
