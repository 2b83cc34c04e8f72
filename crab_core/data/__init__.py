"""Annotated clips: the project's own JSON lines, what is wrong with a file of them, and how others become them."""
