"""What a fleet's sweeps said, kept in one database: SQLite for one operator, PostgreSQL for many.

A node's answer in a sweep is one row, written once however often it is sent.
What seldom changes (facts, parts) is kept once for each time it changed.
"""
