"""Fuzzing of everything that reads what others wrote: `make fuzz`, and a short run over the seeds in the tests."""
