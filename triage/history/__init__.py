"""What this node remembers from sweep to sweep: readings, parts and incidents, in one SQLite file.

Nothing here is needed for a verdict; a sweep without history says so and goes on.
"""
