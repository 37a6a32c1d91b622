"""Tables: how they are written, what their columns hold, and their rows in memory."""
