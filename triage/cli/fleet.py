"""`gpu-triage fleet`: many nodes, and what they testify against each other."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from probes.named import NamedTuple
from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.fleet_options import EXITS


class Verb(NamedTuple):
    """A sub-verb, the module that does it, and what it does."""

    name: str
    module: str
    says: str
    does: str = "main"


VERBS = (
    Verb("sweep", "triage.cli.fleet_sweep", "ask many nodes at once, by ssh or Slurm, and report what they say"),
    Verb(
        "report",
        "triage.cli.fleet_report",
        "what the captures or logs of many nodes say together: does a fault follow\n"
        "             the driver, the firmware, the board, the seat, the rack or the job?",
    ),
    Verb("nodes", "triage.cli.fleet_look", "every node of a store: what became of it, what it last said", "nodes"),
    Verb("incidents", "triage.cli.fleet_look", "the incidents of a store, each with the fleet's verdict", "incidents"),
    Verb("changes", "triage.cli.fleet_look", "what changed from sweep to sweep, beside the incidents", "changes"),
    Verb("diff", "triage.cli.fleet_look", "what is different in the second of two sweeps", "diff"),
    Verb("sweeps", "triage.cli.fleet_look", "the sweeps of a store", "sweeps"),
    Verb("export", "triage.cli.fleet_export", "what a store holds, as Parquet or NDJSON"),
    Verb("store", "triage.cli.fleet_store", "add a sweep's folder to a store, migrate it, delete what is old"),
    Verb("early", "triage.cli.fleet_early", "which GPUs leave their own past or their peers, before anything fails"),
    Verb("drain", "triage.cli.fleet_drain", "which nodes should get no more jobs, and the commands; --apply runs them"),
    Verb("resume", "triage.cli.fleet_drain", "give nodes that were drained by this program back to Slurm", "resume"),
)
OVERVIEW = """\
usage: gpu-triage fleet VERB ...

examples:
  gpu-triage fleet sweep -w 'gpu[001-512]'
  gpu-triage fleet report captures/ --inventory racks.csv
  gpu-triage fleet sweep -w @all --store postgresql://triage@db/fleet --keep 90
  gpu-triage fleet changes --store postgresql://triage@db/fleet --since 7d

verbs:
{verbs}

exit codes:
{exits}
"""


def main(words: Sequence[str]) -> int:
    """Run one of the sub-verbs."""
    names = ", ".join(verb.name for verb in VERBS)
    if not words:
        raise Refused(f"fleet: say what to do: {names} (see `gpu-triage fleet --help`)")
    if words[0] in ("-h", "--help"):
        verbs = "\n".join(f"  {verb.name:<10} {verb.says}" for verb in VERBS)
        output.write(OVERVIEW.format(verbs=verbs, exits="\n".join(f"  {line}" for line in EXITS.strip().splitlines())))
        return DONE
    verb = next((verb for verb in VERBS if verb.name == words[0]), None)
    if verb is None:
        from triage.rulebook.problems import did_you_mean

        near = did_you_mean(words[0], (verb.name for verb in VERBS)) or f"; one of {names}"
        raise Refused(f"fleet: unknown verb '{words[0]}'{near} (see `gpu-triage fleet --help`)")
    module = import_module(verb.module)
    return int(getattr(module, verb.does)(words[1:]))
