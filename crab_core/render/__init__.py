"""Pictures, reports and files as pure functions of results."""
