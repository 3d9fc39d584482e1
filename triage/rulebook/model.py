"""The rulebook as typed values, parsed once at the border and never passed on as dicts.

Durations are seconds.  Points are signed: supports is positive, opposes
negative, and one point doubles the odds of a cause.
"""

# No postponed annotations here: typing would compile each of them, which is half of what this module takes to load.

from collections import abc
from collections.abc import Mapping

from probes.named import NamedTuple

Points = Mapping[str, int]


class Place(NamedTuple):
    """Where something stands in a rule file; printed as `path:line:column`."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Select(NamedTuple):
    """Which signals are meant: any of `signals` by name or of `xids` by code.

    `trigger` means the signals that opened the incident.  `where` holds a
    linear-time regex per field, searched in its text; all must be found.
    """

    signals: tuple[str, ...] = ()
    xids: tuple[int, ...] = ()
    trigger: bool = False
    where: Mapping[str, str] = {}


class Seen(NamedTuple):
    """`log` and `signal`: at least `at_least` of these signals stand near the trigger.

    `same` is gpu, node or pci-path.  `when` is before, after or near (either
    side); `within` overrides the window that the rule looks at.
    """

    select: Select
    same: str = "gpu"
    when: str = "near"
    within: float | None = None
    at_least: int = 1


class Metric(NamedTuple):
    """`metric`: a reading of this GPU (or node) against a limit.  Exactly one limit is set."""

    of: str
    at_least: float | None = None
    at_most: float | None = None
    is_: str | None = None


class Delta(NamedTuple):
    """`delta`: how far a counter moved `over` a time; needs history."""

    of: str
    over: float
    at_least: float | None = None
    at_most: float | None = None


class Count(NamedTuple):
    """`count`: how often, where signals closer than `fold` are one event."""

    select: Select
    over: float
    fold: float = 180.0
    at_least: int | None = None
    at_most: int | None = None
    same: str = "gpu"


class Sequence(NamedTuple):
    """`sequence`: `first`, then `then` no later than `within`, `at_least` times."""

    first: Select
    then: Select
    within: float
    same: str = "gpu"
    at_least: int = 1


class Absent(NamedTuple):
    """`absent`: none of these for `over` before the trigger, in a source readable all that time."""

    select: Select
    over: float
    same: str = "gpu"


class Spread(NamedTuple):
    """`spread`: over how many different things the signals go.

    `across` is gpu, node, process, boot, driver-load or unit (the GPC/TPC/SM
    that an exception names).  `within: node` can be answered on one node;
    anything across nodes is unknown here.
    """

    select: Select
    across: str
    over: float
    within: str | None = None
    alike: tuple[str, ...] = ()
    at_least: int | None = None
    at_most: int | None = None
    lift: float | None = None


class Fact(NamedTuple):
    """`fact`: an inventory fact (`driver.version`, `driver.flavour`, `kernel.release`) matches a glob."""

    name: str
    globs: tuple[str, ...]


class KnownBug(NamedTuple):
    """`known_bug`: what opened the incident is how a fixed bug of the loaded driver version shows.

    `leaf` is a cause or a family; only bugs of it are meant.
    """

    leaf: str


Clause = Seen | Metric | Delta | Count | Sequence | Absent | Spread | Fact | KnownBug


class Otherwise(NamedTuple):
    """What it is worth that the question was asked and answered no."""

    points: Points
    why: str


class Item(NamedTuple):
    """One piece of evidence of a rule.

    `severity`, where set, becomes the incident's if seen.  `settle` is what a
    person can do to answer the question when the tool could not.
    """

    id: str
    group: str
    clause: Clause
    points: Points
    why: str
    ref: tuple[str, ...]
    otherwise: Otherwise | None
    severity: str | None
    place: Place
    settle: str | None = None


class Trigger(NamedTuple):
    """What opens an incident: any of the clauses (`log`, `signal` or `metric`)."""

    any: tuple[Clause, ...]
    points: Points
    why: str
    ref: tuple[str, ...]


class Action(NamedTuple):
    """What to do for a leaf, a family or `undetermined`.  Printed, never run."""

    for_: str
    do: str
    risk: str


class Suppress(NamedTuple):
    """When not to open an incident at all, and why."""

    clause: Clause
    why: str


class Given(NamedTuple):
    """One line or reading of a test, at seconds relative to the test's zero."""

    at: float
    line: str | None = None
    source: str = "kernel"
    metric: str | None = None
    value: float | str | None = None
    pci: str | None = None


class Expect(NamedTuple):
    """What a test demands.  `verdict` is a family or undetermined; `none` means no incident of this rule."""

    verdict: str
    leaf: str | None = None
    at_least: float | None = None
    uses: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    severity: str | None = None


class RuleTest(NamedTuple):
    """One test of a rule: `fleet` presets the answer of an evidence id, `unknown` makes it unread."""

    name: str
    given: tuple[Given, ...]
    fleet: Mapping[str, bool]
    unknown: tuple[str, ...]
    expect: Expect
    place: Place


class Reference(NamedTuple):
    """Where a claim comes from."""

    id: str
    title: str
    url: str


class Rule(NamedTuple):
    """One rule file.

    `lasts` is how long after its last line an incident is still open on a live
    node; None means until the node is rebooted.  `yields` says that any other
    incident at that time explains it.
    """

    id: str
    version: int
    title: str
    status: str
    severity: str
    scope: str
    summary: str
    references: tuple[Reference, ...]
    trigger: Trigger
    look_before: float
    look_after: float
    explains: tuple[str, ...]
    suppress: tuple[Suppress, ...]
    evidence: abc.Sequence[Item]
    actions: abc.Sequence[Action]
    tests: tuple[RuleTest, ...]
    place: Place
    lasts: float | None = None
    yields: bool = False


class SignalPattern(NamedTuple):
    """One line pattern: `match` is a linear-time regex, searched from the start of the message.

    `source` is kernel (only records the kernel wrote), service (only records of
    the programs in `programs`, all if empty) or any.  `device` names the group
    that holds the PCI address.  With `rest` it counts only where no other pattern
    reads the line.
    """

    id: str
    match: str
    source: str
    programs: tuple[str, ...]
    device: str | None
    says: str
    examples: tuple[str, ...]
    counterexamples: tuple[str, ...]
    place: Place
    rest: bool = False


class Sieve(NamedTuple):
    """What every line of a signal must hold: one of these phrases, one of these beginnings, and a further phrase.

    `True` beside a phrase, which then is in small letters: in any case.  None of them: it may hold anything.
    """

    phrases: tuple[tuple[str, bool], ...]
    openings: tuple[str, ...] = ()
    further: tuple[tuple[str, bool], ...] = ()


class Cause(NamedTuple):
    """One leaf.  `prior` is its share before any evidence."""

    leaf: str
    family: str
    prior: float
    owner: str
    title: str


class XidEntry(NamedTuple):
    """What is publicly known of one Xid."""

    code: int
    mnemonic: str
    meaning: str
    bucket: str
    group: str


class DriverBug(NamedTuple):
    """A fault that some driver versions have and others do not.

    It shows as any of `shows`, with `beside` near it if set.  `fixed` says of each branch (`570`) in
    which version it was fixed, or `never`; of a branch that is not there nothing is known.  `since`
    is the first version of a branch that has it.  `flavour` is open or proprietary, `gpu` a linear-time
    regex of product names, where only those have it.  `fault` is one sentence; `examples` are the
    lines of one occurrence.
    """

    id: str
    fault: str
    leaf: str
    shows: tuple[Select, ...]
    beside: Seen | None
    since: Mapping[str, str]
    fixed: Mapping[str, str]
    flavour: str | None
    gpu: str | None
    do: str
    sources: tuple[str, ...]
    examples: tuple[str, ...]
    place: Place


class Rulebook(NamedTuple):
    """Everything under `rules/`, loaded and checked.

    `modules` maps a prefix of a symbol, of a task name or (with a slash) a piece
    of a source path to the kernel module whose code it is.  `digest` is the
    SHA-256 of all files that went in.  `words` are the points of each word.
    `origins` says of a rule that a site brought or changed in which file;
    `notices` tells what the site's files change.  `calibration` is a rising curve
    from the computed confidence to the one shown, empty if it is shown as it is.
    `sieves` say of each signal in turn what its lines must hold; empty where nobody worked them out.
    `bugs` are the known ones of driver versions.
    """

    causes: Mapping[str, Cause]
    at_least: float
    independent_groups: int
    cap: float
    signals: tuple[SignalPattern, ...]
    rules: tuple[Rule, ...]
    xids: Mapping[int, XidEntry]
    digest: str
    modules: Mapping[str, str] = {}
    decisive: int = 7
    strong: int = 4
    words: Mapping[str, int] = {"weak": 1, "moderate": 2, "strong": 4, "decisive": 7}
    origins: Mapping[str, str] = {}
    notices: tuple[str, ...] = ()
    calibration: tuple[tuple[float, float], ...] = ()
    sieves: tuple[Sieve, ...] = ()
    bugs: tuple[DriverBug, ...] = ()
