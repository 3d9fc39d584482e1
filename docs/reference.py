"""Pages that the program writes about itself: verbs, rules, causes, Xids, settings, keys, schemas.

    python docs/reference.py [FOLDER]

`make docs` does it first.  Nothing here is kept in the tree, so nothing can be out of date.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from triage.cli import completion, dispatch, manual  # noqa: E402
from triage.rulebook.load import load  # noqa: E402
from triage.schema import SCHEMAS  # noqa: E402
from tui.keymap import bindings  # noqa: E402
from tui.keys import key_name  # noqa: E402


def write(folder: Path) -> None:
    """Write all pages into a folder; a page that says the same as before is not touched."""
    pages = {
        "cli.md": cli(),
        "causes.md": causes(),
        "rules.md": rules(),
        "xids.md": xids(),
        "settings.md": settings(),
        "keys.md": keys(),
        "schemas.md": schemas(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def cli() -> str:
    """Every verb as its `--help` tells it."""
    lines = ["# Verbs and options", "", "What `--help` prints, and `man` after `gpu-triage install man`.", ""]
    for command in manual.commands():
        level = "#" * (2 + max(0, len(command.words) - 1))
        lines += [f"{level} {' '.join(('gpu-triage', *command.words))}", "", *_text(manual.help_of(command))]
    return _page(lines)


def causes() -> str:
    """The answers that a verdict can have."""
    rulebook = load()
    rows = [(f"`{name}`", cause.title, cause.owner, f"{cause.prior:.2f}") for name, cause in rulebook.causes.items()]
    said = "A verdict names one of these, or is `undetermined`. The prior is what a cause is worth before any evidence."
    return _page(["# Causes", "", said, "", *_table(("cause", "what it is", "whose it is", "prior"), rows)])


def rules() -> str:
    """Every rule in words."""
    said = "What opens an incident, and what speaks for and against each cause: `gpu-triage rules show RULE`."
    lines = ["# Rules", "", said, ""]
    for rule in sorted(load().rules, key=lambda rule: rule.id):
        lines += [f"## {rule.id}", "", *_text(_printed("rules", "show", rule.id, "--no-overlays"))]
    return _page(lines)


def xids() -> str:
    """Every Xid that is known, and what is concluded from it."""
    known = sorted(load().xids)
    said = "What `gpu-triage xid CODE` says: who says what of a code, who contradicts whom, and what we make of it."
    lines = ["# Xids", "", said, ""]
    for code in known:
        lines += [f"## Xid {code}", "", *_text(_printed("xid", str(code), "--no-overlays"))]
    return _page(lines)


def settings() -> str:
    """What can be set in config files and the environment."""
    said = (
        "Each option can stand in a config file, for one verb or for all, or in the environment as "
        "`GPU_TRIAGE_` and its name in capitals. `gpu-triage config show` says what is set, and where."
    )
    lines = ["# Settings", "", said, ""]
    for verb, words in completion.verbs():
        rows = [(f"`{word.text}`", word.says) for word in words if word.text.startswith("--") and word.text != "--help"]
        if rows:
            lines += [f"## {verb}", "", *_table(("option", "what it does"), rows)]
    return _page(lines)


def keys() -> str:
    """What the keys of the screens do, by the names that a keymap uses."""
    found: dict[str, tuple[list[str], str]] = {}
    for binding in bindings():
        pressed, _ = found.setdefault(str(binding.id), ([], binding.description))
        pressed += [f"`{name}`" for name in map(key_name, binding.key.split(",")) if f"`{name}`" not in pressed]
    rows = [(f"`{name}`", " ".join(pressed), says) for name, (pressed, says) in sorted(found.items())]
    said = "What keys do on the screens. `keymap:` in a config file gives others; `?` shows those of a screen."
    return _page(["# Keys", "", said, "", *_table(("action", "keys", "what it does"), rows)])


def schemas() -> str:
    """The JSON Schemas of what is printed."""
    lines = ["# JSON Schemas", "", "What `gpu-triage schema KIND` prints.", ""]
    for kind, path in SCHEMAS.items():
        text = json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1, ensure_ascii=False)
        lines += [f"## {kind}", "", "```json", text, "```", ""]
    return _page(lines)


def _printed(*words: str) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        code = dispatch.main([*words, "--color", "never"] if words[0] == "xid" else words)
    if code:
        raise SystemExit(f"gpu-triage {' '.join(words)} ended with {code}")
    return printed.getvalue()


def _text(text: str) -> list[str]:
    return ["```text", text.rstrip("\n"), "```", ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _page(lines: Sequence[str]) -> str:
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("reference"))
