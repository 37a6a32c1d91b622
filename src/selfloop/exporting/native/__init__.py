"""Models as C99 and object files."""
