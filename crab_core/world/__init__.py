"""The generated audio-visual world with exact labels, deterministic by (split, seed, index)."""
