"""Following one node: its kernel log, NVML's events and its counters, and telling what opens, changes and ends."""
