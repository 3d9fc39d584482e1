"""`gpu-triage fleet export`: what a store holds as plain rows, for other programs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from triage.cli import output
from triage.cli.exits import DONE, PARTIAL, UNREACHABLE, Refused
from triage.cli.fleet_options import add_period, add_store, open_store, period
from triage.cli.options import Parser, add_now, zone

WHAT = ("answers", "sweeps", "facts", "parts", "counters", "incidents")


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "fleet export",
        "Write what a store holds as rows: one for each answer, sweep, fact that changed, GPU that changed, counter\n"
        "of each GPU in each sweep, or incident (with the verdict of its node; `fleet report` has the fleet's).\n"
        "Times are UTC: seconds since 1970 in NDJSON, timestamps in Parquet.",
        "gpu-triage fleet export --store fleet.db counters --format parquet -o counters.parquet\n"
        "gpu-triage fleet export --store fleet.db incidents --since 7d",
        "0 done   2 bad arguments   3 the store could not be read   4 the output could not be written",
    )
    parsed.add_argument("what", nargs="?", choices=WHAT, default=WHAT[0], help="(default: answers)")
    parsed.add_argument("--format", choices=("ndjson", "parquet"), default="ndjson", help="(default: ndjson)")
    parsed.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there; Parquet needs it")
    add_store(parsed)
    add_period(parsed)
    parsed.add_argument("--timezone", type=zone, default=0.0, metavar="ZONE", help="of times that name none")
    add_now(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Read and write."""
    args = parser().parse_args(words)
    if args.format == "parquet" and args.output is None:
        raise Refused("Parquet is no text: name a file, -o FILE")
    now = time.time() if args.now is None else args.now
    with open_store(args) as store:
        from triage.fleet.store import export
        from triage.fleet.store.trouble import Unusable

        found = export.rows(store, args.what, period(args, now))
        try:
            if args.output is None:
                export.ndjson(found, args.what, output.write)
                return DONE
            if args.format == "parquet":
                count = export.parquet(found, args.what, args.output)
            else:
                count = _file(found, args.what, args.output)
        except Unusable as error:
            raise Refused(str(error), UNREACHABLE) from None
        except OSError as error:
            raise Refused(output.unwritten(args.output, error), PARTIAL) from error
    output.tell(f"{count} rows in {args.output}")
    return DONE


def _file(found: object, what: str, path: Path) -> int:
    from triage.fleet.store import export

    scratch = path.with_name(f".{path.name}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        with open(os.open(scratch, flags, 0o600), "w", encoding="utf-8") as file:
            count = export.ndjson(found, what, file.write)  # type: ignore[arg-type]
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
    return count
