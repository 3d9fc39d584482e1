"""Which boards, seats and moments a fault keeps to.

A board that fails in two seats took the fault with it; a seat where two boards
fail keeps it; one that fails again and again where hardly anything else does is
alone with it; and where many nodes of one place fail within minutes, the place
did it.  Each is held against what the rate of the same fault elsewhere in the
fleet would do by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from probes.named import NamedTuple
from triage.fleet import chance
from triage.fleet.census import Census, Event, board_of, identity
from triage.fleet.follow import Facts, Pattern
from triage.fleet.hypotheses import Hypotheses, Hypothesis

MOST_NAMED = 3
"""Seats or boards that a sentence names."""


class Coincidence(NamedTuple):
    """Events of one rule that belong together; `counts` is the sentence that says how, `chance` is corrected."""

    hypothesis: Hypothesis
    rule: str
    value: str
    counts: str
    chance: float
    members: frozenset[str]


class _Seats:
    """For how long each board was heard in each seat, and how often each rule's fault came there."""

    def __init__(self, census: Census, episode: float) -> None:
        self.heard: dict[tuple[str, str], float] = {}
        self.by_board: dict[str, list[str]] = {}
        self.by_seat: dict[str, list[str]] = {}
        self.episodes: dict[str, dict[tuple[str, str], list[Event]]] = {}
        for stay in census.stays:
            for part in stay.gpus:
                board = identity(part)
                if board is not None and part.pci is not None:
                    pair = (board, f"{stay.node} {part.pci}")
                    if pair not in self.heard:
                        self.by_board.setdefault(board, []).append(pair[1])
                        self.by_seat.setdefault(pair[1], []).append(board)
                    self.heard[pair] = self.heard.get(pair, 0.0) + stay.heard
        self.whole = sum(self.heard.values())
        for event in census.events:
            board = board_of(census, event)
            if board is not None and event.pci is not None:
                pair = (board, f"{event.node} {event.pci}")
                self.episodes.setdefault(event.rule, {}).setdefault(pair, []).append(event)
        self._episode = episode

    def count(self, events: Iterable[Event]) -> int:
        """Return the number of episodes: moments further apart than the length of one."""
        moments = sorted({moment for event in events for moment in (event.at, *event.times, event.last)})
        return sum(1 for i, at in enumerate(moments) if i == 0 or at - moments[i - 1] > self._episode)


def coincidences(facts: Facts, hypotheses: Hypotheses, found: Sequence[Pattern]) -> list[Coincidence]:
    """Return everything that keeps to a board, a seat or a moment; `found` are the patterns that are known already."""
    by_kind = {kind: [h for h in hypotheses.all if h.kind == kind] for kind in ("board", "seat", "alone", "burst")}
    seats = _Seats(facts.census, hypotheses.episode)
    result: list[Coincidence] = []
    for hypothesis in by_kind["board"]:
        result += _kept(seats, hypothesis, hypotheses.alpha, seats.by_board, lambda pair: pair)
    for hypothesis in by_kind["seat"]:
        result += _kept(seats, hypothesis, hypotheses.alpha, seats.by_seat, lambda pair: (pair[1], pair[0]))
    for hypothesis in by_kind["alone"]:
        result += _alone(facts, seats, hypothesis, hypotheses.alpha, found)
    bursts = [burst for h in by_kind["burst"] for burst in _bursts(facts, h, hypotheses.alpha)]
    return result + [burst for burst in bursts if not any(_inside(burst, other) for other in bursts)]


def _inside(burst: Coincidence, other: Coincidence) -> bool:
    """Whether a burst is only a part of a less likely one: the nodes of a switch, of those of a rack."""
    return burst.rule == other.rule and burst.members < other.members and other.chance < burst.chance


def _kept(
    seats: _Seats,
    hypothesis: Hypothesis,
    alpha: float,
    places: Mapping[str, Sequence[str]],
    turned: Callable[[tuple[str, str]], tuple[str, str]],
) -> Iterable[Coincidence]:
    """Boards that fail in several seats or, `turned` round, seats in which several boards fail."""
    chances: dict[tuple[str, str], float] = {}
    hits: dict[tuple[str, str], dict[str, list[Event]]] = {}
    for rule, pairs in seats.episodes.items():
        for pair, events in pairs.items():
            who, where = turned(pair)
            if len(places.get(who, ())) >= hypothesis.at_least:
                hits.setdefault((rule, who), {})[where] = events
        often = sum(map(seats.count, pairs.values()))
        for (of, who), found in hits.items():
            if of == rule:
                heard = {place: seats.heard.get(turned((who, place)), 0.0) for place in places[who]}
                own = {place: seats.count(events) for place, events in found.items()}
                rate = max(often - sum(own.values()), 0.5) / max(seats.whole - sum(heard.values()), 1.0)
                # Where it came first chose the board; only the others are a surprise.
                first = min(found, key=lambda place: found[place][0].at)
                elsewhere = sum(own.values()) - own[first]
                time = sum(heard.values()) - heard.get(first, 0.0)
                chances[rule, who] = chance.poisson_at_least(elsewhere, rate * time)
    sure = chance.corrected(chances)
    for (rule, who), found in sorted(hits.items()):
        if len(found) >= hypothesis.at_least and sure[rule, who] <= alpha:
            named = ", ".join(sorted(found)[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
            other = "seats" if hypothesis.kind == "board" else "boards"
            verb = "shows it in" if hypothesis.kind == "board" else "shows it with"
            counts = f"{hypothesis.named} {who} {verb} {len(found)} {other} ({named})"
            members = frozenset(event.fingerprint for events in found.values() for event in events)
            yield Coincidence(hypothesis, rule, who, _sentence(counts), sure[rule, who], members)


def _alone(
    facts: Facts, seats: _Seats, hypothesis: Hypothesis, alpha: float, found: Sequence[Pattern]
) -> Iterable[Coincidence]:
    chances: dict[tuple[str, tuple[str, str]], float] = {}
    counted: dict[tuple[str, tuple[str, str]], tuple[int, int]] = {}
    for rule, pairs in seats.episodes.items():
        rivals = [pattern for pattern in found if pattern.rule == rule and pattern.explained_by is None]
        often = {pair: seats.count(events) for pair, events in pairs.items()}
        total = sum(often.values())
        for pair, events in pairs.items():
            if often[pair] < hypothesis.at_least:
                continue
            heard = seats.heard.get(pair, 0.0)
            # Where the fault goes with something else, the rate there is what this board is held against.
            peers, time = total, seats.whole
            for pattern in rivals:
                if any(facts.value(pattern.hypothesis, event) == pattern.value for event in events):
                    inside = [
                        own for other, own in often.items()
                        if any(facts.value(pattern.hypothesis, e) == pattern.value for e in pairs[other])
                    ]  # fmt: skip
                    boards = 1 if pattern.hypothesis.unit == "gpu" else max(1, len(seats.heard)) / facts.census.nodes
                    limited = facts.times(pattern.hypothesis).heard[pattern.value] * boards
                    if sum(inside) / max(limited, 1.0) > peers / max(time, 1.0):
                        peers, time = sum(inside), limited
            others = max(peers - often[pair], 0.5)
            mean = others * heard / max(time - heard, heard, 1.0)
            chances[rule, pair] = chance.poisson_at_least(often[pair], mean)
            counted[rule, pair] = (often[pair], total)
    sure = chance.corrected(chances, len(seats.heard))
    for rule, pair in sorted(chances):
        if sure[rule, pair] <= alpha:
            own, total = counted[rule, pair]
            counts = f"{own} of the fleet's {total} times it was this board in this seat, one of {len(seats.heard)}"
            members = frozenset(event.fingerprint for event in seats.episodes[rule][pair])
            yield Coincidence(hypothesis, rule, " in ".join(pair), counts, sure[rule, pair], members)


def _bursts(facts: Facts, hypothesis: Hypothesis, alpha: float) -> Iterable[Coincidence]:
    """Nodes with one value that failed together while hardly any others did."""
    census = facts.census
    members_of: dict[str, set[str]] = {}
    for stay in census.stays:
        value = stay.facts.get(hypothesis.of)
        if value is not None:
            members_of.setdefault(value, set()).add(stay.node)
    everyone = sum(map(len, members_of.values()))
    windows = max(1.0, (census.until - census.since) / max(hypothesis.within, 1.0)) * max(1, len(members_of))
    for rule in facts.rules:
        moments: list[tuple[float, str, str, str]] = []
        for event in facts.events(rule):
            value = census.fact(event, hypothesis.of)
            if value is not None:
                times = {event.at, *event.times, event.last}
                moments += [(at, value, event.node, event.fingerprint) for at in times]
        moments.sort()
        best: dict[str, tuple[float, int, int, set[str]]] = {}
        starts = [i for i, moment in enumerate(moments) if i == 0 or moment[0] != moments[i - 1][0]]
        end = 0
        for start in starts:
            while end < len(moments) and moments[end][0] - moments[start][0] <= hypothesis.within:
                end += 1
            window = moments[start:end]
            if len(window) < hypothesis.at_least:
                continue
            everywhere = {node for _, _, node, _ in window}
            by_value: dict[str, set[str]] = {}
            for _, value, node, _ in window:
                by_value.setdefault(value, set()).add(node)
            rate = len(moments) * hypothesis.within / max(census.until - census.since, hypothesis.within)
            for value, nodes in by_value.items():
                if len(nodes) < hypothesis.at_least or value not in members_of:
                    continue
                share = len(members_of[value]) / everyone
                outside = len(everywhere) - len(nodes)
                # Both must be unlikely: that so many of these failed at once, and that so few of the others did.
                here = chance.at_least(len(nodes), len(everywhere), share) if outside else 0.0
                now = min(1.0, chance.poisson_at_least(len(nodes), rate * share) * windows)
                total = max(here, now)
                if total > alpha:
                    continue
                known = {fingerprint for _, of, _, fingerprint in window if of == value}
                before = best.get(value, (1.0, 0, 0, set()))
                best[value] = (
                    (total, len(nodes), outside, before[3] | known)
                    if len(nodes) > before[1]
                    else (*before[:3], before[3] | known)
                )
        for value, (total, most, others, fingerprints) in sorted(best.items()):
            counts = (
                f"{most} of {len(members_of[value])} nodes with {hypothesis.named} {value} failed within"
                f" {hypothesis.within / 60:.0f} minutes, and {others} of {everyone - len(members_of[value])} others"
            )
            yield Coincidence(hypothesis, rule, value, counts, total, frozenset(fingerprints))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
