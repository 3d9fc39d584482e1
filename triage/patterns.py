"""The phrases that must stand in a line for a signal pattern to find anything in it.

They are searched for in the bytes of whole blocks, all at once; only the lines
that hold one are then read and matched as ever.  A phrase that stands in too
many lines costs a little time.  One that is missing would cost a verdict, so
what this module does not know of a pattern it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from probes.named import NamedTuple

SHORTEST = 3
"""Characters of the shortest phrase that is worth a search."""
SHORT = 5
"""Characters below which a phrase slows the search for all down."""
MOST_WORDS = 3
MOST_SPELT = 24
"""Texts that a group may be spelt out to."""
ENOUGH = 9.0
"""A phrase that is as rare as this need not be rarer."""
BRIEF = 9
"""Characters that are left of a phrase at least, where its end is left out."""
_USUAL = (" etaoinsrdlcu", "hmpgfybvk0123.:-=", "/,_w456789")
"""Characters by how often words of kernel logs end with them; all others are rarer."""

# Words that most kernel logs are full of.
_EVERYDAY_WORDS = """
    a acpi address an and are assign at ata be bus by can change changed connect connection cpu critical
    current data detected device devices disabled driver enable enabled error errors event exceed ext4-fs fail
    failed failure firmware for found from hang has in info initialized input interrupt invalid is it kernel
    link load loading lost memory message module netdev network not of off on open operation or out over page
    pci port power process queue read reason received registered request requires reset set stack stall start
    state status supported system task temperature the thermal this time timed timeout to type unable unknown
    unsupported up usb user using version warning was were which will with write
    """
_EVERYDAY = frozenset(_EVERYDAY_WORDS.split())

# One word for all patterns that name the driver or device: fewer phrases are found faster, and each is rare enough.
FAMILIES = ("NVRM", "nvidia", "amdgpu", "mlx5_", "nouveau", "pcieport", "CUDA", "NCCL", "DMAR", "Hardware Error]")

_TOKEN = re.compile(
    r"(?P<open>\((?:\?(?:P?<\w+>|(?P<flags>[a-z]*):))?)|(?P<close>\))|(?P<bar>\|)|(?P<anchor>\^|\$|\\[bBAzZ])"
    r"|(?P<times>[*+?]\??|\{\d+(?:,\d*)?\}\??)"
    r"|(?P<set>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\\[dDwWsStfnrv]|\.)"
    r"|(?P<char>\\x[0-9a-fA-F]{2}|\\[^\w]|[^\\\[{()*+?|^$.])",
    re.S,
)


_Branches: TypeAlias = "tuple[tuple[_Part, ...], ...]"


class Untranslatable(ValueError):
    """The pattern uses what this module does not know.  The text says what."""


class Needle(NamedTuple):
    """A phrase to search for, in any case if `caseless`."""

    text: str
    caseless: bool = False


class _Part(NamedTuple):
    """A piece of an expression: text, how often (`most` None: any number), or alternatives of such pieces."""

    text: str = ""
    least: int = 1
    most: int | None = 1
    blank: bool = False  # a blank is one of the things it stands for
    kind: str = "char"
    branches: _Branches = ()
    flags: str = ""


def needles(pattern: str, families: Sequence[str] = FAMILIES) -> frozenset[Needle]:
    """Return phrases of which at least one stands in every line that the pattern finds, the rarest that there are.

    A blank of a phrase stands for one blank; `spaced` says what stands in the line where it is more.
    A word of `families` stands for every phrase that holds it.

    Raises:
        Untranslatable: if there are none of at least `SHORTEST` characters.
    """
    tokens = _tokens(pattern)
    branches, end = _branches(tokens, 0)
    found = _best(branches, False, families) if end == len(tokens) else None
    if found is None:
        raise Untranslatable(f"no word that must stand in the line: {pattern!r}")
    return found


def further(pattern: str, held: Sequence[str]) -> frozenset[Needle]:
    """Return phrases of which one, too, stands in every line that the pattern finds, if there are others than `held`.

    Fewer lines hold one of these besides than hold its phrases and begin as it does.  None if there are none.
    """
    tokens = _tokens(pattern)
    branches, end = _branches(tokens, 0)
    return (_best(branches, False, (), held) if end == len(tokens) else None) or frozenset()


def openings(pattern: str) -> tuple[str, ...]:
    """Return texts of which one begins every line that the pattern matches from its start; none if that is unknown."""
    tokens = _tokens(pattern)
    branches, end = _branches(tokens, 0)
    found = _begins(branches) if end == len(tokens) else frozenset(("",))
    return () if "" in found else tuple(sorted(found))


def _begins(branches: _Branches) -> frozenset[str]:
    """The texts by which the alternatives begin, as far as they can be spelt out."""
    found: set[str] = set()
    for branch in branches:
        texts: tuple[str, ...] = ("",)
        for part in branch:
            spelt = () if part.flags or part.most != 1 else _spelt(part)
            if spelt and part.least == 0:
                spelt = ("", *spelt)
            inner = _begins(part.branches) if part.kind == "group" and part.least and not (spelt or part.flags) else ()
            more = spelt or tuple(sorted(inner))
            if more and len(texts) * len(more) <= MOST_SPELT:
                texts = tuple(text + next_text for text in texts for next_text in more)
            if not spelt:
                break
        found.update(texts)
    return frozenset(found)


def fewest(found: Iterable[Needle]) -> list[Needle]:
    """Return those phrases without which some line would not be found: not those that hold another of them."""
    kept: list[Needle] = []
    for one in sorted(set(found), key=lambda n: (len(n.text), n.caseless, n.text)):
        text = one.text.lower()
        if not any((k.text.lower() in text) if k.caseless else (not one.caseless and k.text in one.text) for k in kept):
            kept.append(one)
    return sorted(kept)


def brief(needle: Needle) -> Needle:
    """Return a part of the phrase that is as good to search for and found faster, or the phrase.

    Many phrases are told apart by their ends, so an end that looks like any other (`ed`, `ing`) makes the search look
    twice.
    """
    text = needle.text
    ends = range(min(BRIEF, len(text)), len(text) + 1)
    return Needle(text[: max(ends, key=lambda end: (_striking(text[max(0, end - 3) : end]), end))], needle.caseless)


def _striking(text: str) -> int:
    """How little this looks like the ends of the words of a log."""
    return sum(next((value for value, usual in enumerate(_USUAL) if c in usual), len(_USUAL)) for c in text)


def spaced(needle: Needle) -> frozenset[Needle]:
    """Return what else to search for, so that the phrase is found where two or more blanks stand for one."""
    ends = (place for place, character in enumerate(needle.text) if character == " " and place)
    return frozenset(Needle(needle.text[:end] + "  ", needle.caseless) for end in ends)


def _best(
    branches: _Branches, caseless: bool, families: Sequence[str], beyond: Sequence[str] = ()
) -> frozenset[Needle] | None:
    """The phrases of all alternatives, the rarest of each; if it has others, none that all stand in texts `beyond`."""
    together: frozenset[Needle] = frozenset()
    for branch in branches:
        choices = list(_choices(branch, caseless, families, beyond))
        others = [
            choice for choice in choices if not all(any(needle.text in text for text in beyond) for needle in choice)
        ]
        if not choices:
            return None
        rarest: frozenset[Needle] = max(
            (frozenset(_family(needle, families) for needle in choice) for choice in others or choices),
            key=lambda choice: _rarity(choice, families),
        )
        together |= rarest
    return together


def _choices(
    parts: tuple[_Part, ...], caseless: bool, families: Sequence[str], beyond: Sequence[str]
) -> Iterator[frozenset[Needle]]:
    """Every set of phrases of which one must be there."""
    texts: tuple[str, ...] = ("",)
    for part in (*parts, _Part(kind="end")):
        once = (part.least, part.most) == (1, 1)
        spelt = _spelt(part) if part.least else ()
        if spelt and not part.flags:
            longer = tuple(text + more for text in texts for more in spelt)
            if once and len(longer) <= MOST_SPELT:
                texts = longer
                continue
            if len(longer) <= MOST_SPELT:
                texts = longer
        yield from _windows(texts, caseless, families)
        texts = ("",)
        if part.kind == "group" and part.least:
            inner = _best(part.branches, caseless or "i" in part.flags, families, beyond)
            if inner is not None:
                yield inner
            if once and spelt and not part.flags:
                texts = spelt


def _spelt(part: _Part) -> tuple[str, ...]:
    """All texts that the part may be, if they are few."""
    if part.kind == "char":
        return (" ",) if part.blank else (_plain(part.text),)
    if part.kind != "group" or part.flags:
        return ()
    texts: list[str] = []
    for branch in part.branches:
        if any(p.kind != "char" or (p.least, p.most) != (1, 1) for p in branch):
            return ()
        texts.append("".join(_spelt(p)[0] for p in branch))
    return tuple(texts) if all(texts) else ()


def _windows(texts: tuple[str, ...], caseless: bool, families: Sequence[str]) -> Iterator[frozenset[Needle]]:
    """Of each text the rarest few words in a row."""
    chosen = []
    for text in texts:
        words = text.split(" ")
        phrases = (
            Needle(" ".join(words[first:end]), caseless)
            for first in range(len(words))
            for end in range(first + 1, min(len(words), first + MOST_WORDS) + 1)
        )
        long_enough = [phrase for phrase in phrases if len(phrase.text) >= SHORTEST]
        if not long_enough:
            return
        chosen.append(max(long_enough, key=lambda phrase: _rare(phrase, families)))
    yield frozenset(chosen)


def _plain(text: str) -> str:
    """The character that an escape stands for."""
    if text.startswith("\\x"):
        return chr(int(text[2:], 16))
    return text[-1]


def _rarity(phrases: frozenset[Needle], families: Sequence[str]) -> float:
    return min(_rare(phrase, families) for phrase in phrases) - len(phrases) / 8


def _family(needle: Needle, families: Sequence[str]) -> Needle:
    """The word of a family that the phrase holds, or the phrase."""
    held = (word for word in families if word in needle.text and not needle.caseless)
    return next((Needle(word) for word in held), needle)


def _rare(needle: Needle, families: Sequence[str]) -> float:
    """How seldom a phrase stands in a log, as far as its spelling tells."""
    if needle.text in families:
        return 2 * ENOUGH
    rare = 0.0
    words = needle.text.split()
    for word in words:
        letters = word.strip(",.:;()[]-/")
        if not letters or letters.lower() in _EVERYDAY:
            rare += 1.0 if letters else 0.3
        else:
            plain = sum(1.0 if c.islower() or needle.caseless else 1.8 for c in word)
            rare += min(ENOUGH, plain if len(word) > 3 else max(plain - 2, 0.5))
    if rare >= ENOUGH and needle.text == words[0]:  # needs no other beside it, nor a search for more blanks between
        return ENOUGH + 1.5
    first = words[0].strip(",.:;()[]-/").lower() if words else ""
    vague = len(words) > 1 and (not first or first in _EVERYDAY)
    slow = 2.0 * (len(needle.text) < SHORT)
    return min(rare, ENOUGH) + 0.7 * (len(words) > 1) + 0.3 * (len(words) > 2) - vague - slow


def _tokens(pattern: str) -> list[re.Match[str]]:
    tokens, place = [], 0
    while place < len(pattern):
        token = _TOKEN.match(pattern, place)
        if token is None:
            raise Untranslatable(f"{pattern[place : place + 8]!r} in {pattern!r}")
        tokens.append(token)
        place = token.end()
    return tokens


def _branches(tokens: list[re.Match[str]], place: int) -> tuple[_Branches, int]:
    """Read alternatives up to the closing parenthesis (or the end), and return them with the place of it."""
    branches: list[tuple[_Part, ...]] = []
    parts: list[_Part] = []
    while place < len(tokens) and tokens[place].lastgroup != "close":
        token = tokens[place]
        text, kind = token[0], "open" if token["open"] else token.lastgroup or ""
        place += 1
        if kind == "bar":
            branches.append(tuple(parts))
            parts = []
        elif kind == "open":
            flags = token["flags"] or ""
            if flags.strip("i"):
                raise Untranslatable(f"flags {flags!r}")
            inner, place = _branches(tokens, place)
            if place == len(tokens):
                raise Untranslatable("( without )")
            place += 1
            parts.append(_Part(kind="group", branches=inner, flags=flags))
        elif kind == "times":
            if not parts:
                raise Untranslatable(f"{text!r} after nothing")
            parts[-1] = _repeated(parts[-1], text)
        elif kind == "anchor":
            parts.append(_Part(kind="anchor", least=0))
        elif kind == "set":
            parts.append(_Part(kind="set"))
        else:
            parts.append(_Part(text, blank=text in (" ", "\\ ", "\\x20"), kind="char"))
    return (*branches, tuple(parts)), place


def _repeated(part: _Part, text: str) -> _Part:
    """The part so many times, of a range of times if it is repeated twice."""
    text = text[:-1] if len(text) > 1 and text.endswith("?") else text
    if text[0] == "{":
        low, comma, high = text[1:-1].partition(",")
        least, most = int(low), int(high) if high else (None if comma else int(low))
    else:
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[text]
    if (part.least, part.most) == (1, 1):
        return part._replace(least=least, most=most)
    return _Part(kind="group", branches=((part,),), least=least, most=most)
