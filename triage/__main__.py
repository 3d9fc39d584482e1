"""`python -m triage` is `gpu-triage`."""

from triage.cli import run

run()
