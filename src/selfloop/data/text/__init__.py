"""Text: pieces of it from files and tables, tokens, and streams of them."""
