"""Weights are folders with a header: crab.json beside safetensors."""
