"""`gpu-triage schema`: prints the schemas that the output follows."""

from __future__ import annotations

from collections.abc import Sequence

from triage.cli import output
from triage.cli.exits import DONE
from triage.cli.options import Parser


def parser() -> Parser:
    """Return the parser of this verb."""
    from triage.schema import SCHEMAS

    parsed = Parser(
        "schema",
        "Print a JSON Schema (2020-12). The report's holds those of the NDJSON lines too, under $defs.\n"
        "`alerts` is that of alerts.yaml (draft 7), for editors.",
        "gpu-triage schema report > report.v1.json\ngpu-triage schema incidents > incidents.v1.json",
        "0 done   2 bad arguments",
    )
    parsed.add_argument("of", choices=tuple(SCHEMAS), help="whose schema")
    return parsed


def main(words: Sequence[str]) -> int:
    """Print the schema file as it stands."""
    args = parser().parse_args(words)
    from triage.schema import SCHEMAS

    output.write(SCHEMAS[args.of].read_text(encoding="utf-8"))
    return DONE
