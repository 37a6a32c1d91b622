"""Where files are, what their names and bytes tell, and how far compressed ones may expand."""
