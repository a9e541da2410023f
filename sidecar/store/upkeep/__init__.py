"""What an operator does with the data itself: prove it, save it, bring it back."""
