"""Training: stages as data, samples from memory, transformers' Trainer."""
