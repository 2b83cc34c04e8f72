"""The command line: a thin skin over crab_core.engine."""
