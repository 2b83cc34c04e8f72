"""A file becomes a Clip: probing, frames by seeking, sound by streaming resample (numpy and PyAV, no torch)."""
