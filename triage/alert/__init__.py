"""Alerts: where they go, the queue that survives a kill, what is said of an incident, and the process that says it."""
