"""The command `gpu-triage`: one module per verb, loaded when it is asked for."""

from triage.cli.dispatch import main, run

__all__ = ["main", "run"]
