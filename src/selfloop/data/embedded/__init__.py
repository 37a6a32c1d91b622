"""What selfloop brings along, for a first try without data."""
