"""How good the rules are, on data where the answer is known."""
