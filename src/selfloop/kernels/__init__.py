"""One sequence through one cell, the fastest correct way."""
