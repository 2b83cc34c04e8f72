"""Many clips: plan, journal, worker and engines."""
