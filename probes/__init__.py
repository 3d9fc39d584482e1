"""Probes read one source each and decide nothing.

They need only the standard library and pynvml (psutil where present) and run
on Python 3.9, so that they can travel to a node on which nothing is installed.
"""
