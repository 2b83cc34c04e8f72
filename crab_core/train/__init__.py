"""Training: stages as data, batches as functions of the step, a loop that resumes exactly, model folders out."""
