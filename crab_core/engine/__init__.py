"""Turns a clip, a task and a question into a Result."""
