"""What is asked and how the answer reads: one file a task, no torch."""
