"""How good are the answers? Judged on what happened afterwards, or on what was planted."""
