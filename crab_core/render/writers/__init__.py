"""Results as files that other programs open: one small writer a format, named in the registry's WRITERS."""
