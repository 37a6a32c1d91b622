"""What each task reads from its sources, and what a label is there."""
