"""`gpu-triage install`: the files with which other programs run this one, with the path of this installation in them.

Nothing is installed: the files are printed, or written into a folder that is
named, and the comment at their top says where each belongs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from probes.named import NamedTuple
from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser
from triage.cli.output import unwritten
from triage.shipped import shipped

_PROGRAM = "/usr/bin/gpu-triage"
"""How the files name this program until they are printed."""
_PLAIN = re.compile(r"/[\w./+@-]+", re.ASCII)
"""Paths that need no quotes: shell, cron, systemd and JSON each have their own."""


class File(NamedTuple):
    """One file: where it stands in contrib if it does, where it belongs on a machine, and its mode."""

    source: str
    target: str
    mode: int = 0o644


KITS: Mapping[str, tuple[File, ...]] = {
    "systemd": (
        File("systemd/gpu-triage-watch.service", "/etc/systemd/system/gpu-triage-watch.service"),
        File("systemd/gpu-triage-check.service", "/etc/systemd/system/gpu-triage-check.service"),
        File("systemd/gpu-triage-check.timer", "/etc/systemd/system/gpu-triage-check.timer"),
    ),
    "cron": (File("cron/gpu-triage", "/etc/cron.d/gpu-triage"),),
    "slurm": (
        File("slurm/health-check", "/usr/lib/gpu-triage/slurm-health-check", 0o755),
        File("slurm/prolog", "/usr/lib/gpu-triage/slurm-prolog", 0o755),
        File("slurm/epilog", "/usr/lib/gpu-triage/slurm-epilog", 0o755),
    ),
    "npd": (
        File("node-problem-detector/gpu-triage-monitor.json", "/etc/node-problem-detector.d/gpu-triage-monitor.json"),
    ),
    "kubernetes": (
        File("kubernetes/gpu-triage-npd.yaml", "gpu-triage-npd.yaml"),
        File("node-problem-detector/gpu-triage-monitor.json", "gpu-triage-monitor.json"),
    ),
    "prometheus": (File("prometheus/gpu-triage.rules.yml", "/etc/prometheus/gpu-triage.rules.yml"),),
    "grafana": (File("grafana/gpu-triage.json", "gpu-triage.json"),),
    "man": (),  # made from the help of the verbs
}
NEXT: Mapping[str, str] = {
    "systemd": "systemctl daemon-reload && systemctl enable --now gpu-triage-watch.service  (or the timer)",
    "cron": "nothing else; cron reads it within a minute",
    "slurm": "name them in slurm.conf (each says how) and run scontrol reconfigure",
    "npd": "start node-problem-detector with --config.custom-plugin-monitor naming it",
    "kubernetes": "the comment at the top of the manifest has the two commands; set IMAGE",
    "prometheus": "name it below rule_files: in prometheus.yml, and check it: promtool check rules FILE",
    "grafana": "Dashboards, New, Import; it asks for the Prometheus data source",
    "man": "nothing else; man gpu-triage, man gpu-triage-check",
}


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "install",
        "Print the files with which systemd, cron, Slurm, node-problem-detector, Kubernetes, Prometheus, Grafana or\n"
        "man use this program, with the path of this installation in them. Nothing on the machine is changed.",
        """
gpu-triage install systemd --print
gpu-triage install slurm --print
gpu-triage install systemd --to /tmp/units      write them into a folder instead, under their own names
gpu-triage install man --to ~/.local/share/man/man1
""",
        "0 done   2 bad arguments, or the folder cannot be written",
    )
    parsed.add_argument("kit", choices=tuple(KITS), help="for what")
    way = parsed.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--print", action="store_true", help="print the files, each below a line that says where it belongs"
    )
    way.add_argument("--to", type=Path, metavar="DIR", help="write them into this folder; a file that is there stays")
    return parsed


def main(words: Sequence[str]) -> int:
    """Print or write the files of one kit."""
    args = parser().parse_args(words)
    files = manual() if args.kit == "man" else [(file, filled(file)) for file in KITS[args.kit]]
    if args.print:
        for file, text in files:
            mode = "" if file.mode == 0o644 else f" (mode {file.mode:04o})"
            output.write(f"### {file.target}{mode}\n{text}\n")
        output.write(f"### then: {NEXT[args.kit]}\n")
        return DONE
    for file, text in files:
        path = args.to / os.path.basename(file.target)
        try:
            args.to.mkdir(parents=True, exist_ok=True)
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, file.mode)
            with open(opened, "w", encoding="utf-8") as stream:
                os.fchmod(opened, file.mode)
                stream.write(text)
        except FileExistsError:
            raise Refused(f"{path} is there already; name another folder, or remove it") from None
        except OSError as error:
            raise Refused(unwritten(path, error)) from error
        output.write(f"{path}\n")
    output.tell(f"next: {NEXT[args.kit]}")
    return DONE


def manual() -> list[tuple[File, str]]:
    """Return the manual pages, each with where it belongs."""
    from triage.cli.manual import pages

    return [(File("", f"/usr/local/share/man/man1/{name}"), text) for name, text in pages().items()]


def filled(file: File) -> str:
    """Return the text of a file with the path of this program in it.

    Raises:
        Refused: if that path would need quotes.
    """
    text, path = (shipped("contrib") / file.source).read_text(encoding="utf-8"), program()
    if _PROGRAM in text and not _PLAIN.fullmatch(path):
        raise Refused(f"{path!r} would need quotes in {file.source}; install gpu-triage in a folder with a plain name")
    return text.replace(_PROGRAM, path)


def program() -> str:
    """Return the path under which this program is called on this machine."""
    called = os.path.abspath(sys.argv[0]) if sys.argv and os.path.basename(sys.argv[0]) == "gpu-triage" else None
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "gpu-triage")
    found = [
        path for path in (called, shutil.which("gpu-triage"), beside) if path is not None and os.access(path, os.X_OK)
    ]
    return found[0] if found else _PROGRAM
