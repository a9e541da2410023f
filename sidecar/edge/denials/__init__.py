"""Causes of denials that an operator can mend: named in the answer, counted in the log."""
