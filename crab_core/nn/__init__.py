"""Pure modules, tensors in and out."""
