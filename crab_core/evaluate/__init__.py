"""Metrics of the field in numpy, and the runner that scores a model."""
