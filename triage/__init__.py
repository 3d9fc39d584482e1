"""triage decides and speaks: signals, timeline, rulebook, verdict, report, command line."""

__version__ = "0.1.0"
