"""AuthZEN 1.0 API for PEPs with their own key. ``pdp.evaluation`` and ``pdp.search`` decide."""
