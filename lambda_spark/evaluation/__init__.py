"""How good are the answers? Judged on what was planted, or on what happened afterwards."""
