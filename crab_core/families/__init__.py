"""How a network sees, hears and writes: one file a family."""
