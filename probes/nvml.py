"""What NVML says, without ever waiting for it.

NVML is asked by a child process (`probes.nvml_child`) that tells what it is
about to ask.  If a call does not come back, or takes the child with it, the
GPU it was put to is named, the child is killed (or left behind, if the driver
does not let it die), and another child asks the GPUs that are left.  The whole
ends within its deadline whatever the driver does.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Optional

from probes import bounded
from probes.model import NODE, TIMED_OUT, Entity, Missing, Reading, Source, Value
from probes.named import NamedTuple
from probes.nvml_failures import FAULTS, OPENING, Failures
from probes.nvml_heard import UNKNOWN, Gpu, Heard
from probes.nvml_node import CPER, CPER_CALL, NODE_CALLS
from probes.nvml_owed import BRIEF_OWED, BRIEFLY, OWED
from probes.nvml_process import GRACE, called, end, left_over, remedy, start
from probes.stuck import Stuck

# Seconds one call may take.  Without persistence mode the driver brings a GPU
# up when it is opened, which takes seconds on a healthy node.
CALL_BUDGET = 5.0
OPEN_BUDGET = 12.0
AGAIN_BUDGET = 1.0
"""Seconds for a call that hung before in the same sweep, or on a GPU that did: so that every GPU gets its turn."""
_SLOW_CALLS = ("import-pynvml", "nvmlInit", OPENING)
_BLAME_FROM = 0.5  # with less time left than this nobody is called unresponsive: time ran out
_MAX_LINE = 1 << 20
_CHILD = "probes.nvml_child"
_GATHER = 0.004
_RESPONSIVE = "gpu.responsive"
NOT_REACHED = "error:not-reached"  # time was up, or NVML gone, before this GPU's turn came; it is not accused

# What the node is asked and can do without, and the readings that come of it.
_OF_NODE = {**{function: call.outs for call in NODE_CALLS for function, _ in call.ways}, CPER_CALL: (CPER,)}


class Started(NamedTuple):
    """The first child of a sweep, which is asking already."""

    process: bounded.Process


class _Ending(NamedTuple):
    """How a child ended: `why` is None (well), `timed-out` or `error:<what>`; `blame` if the call is at fault."""

    why: Optional[str]
    blame: bool = False
    errors: str = ""


def sweep(
    deadline: float,
    *,
    library_env: Optional[Mapping[str, str]] = None,
    state_dir: Optional[Path] = None,
    started: Optional[Started] = None,
    brief: bool = False,
) -> tuple[list[Reading], list[Entity], list[Source]]:
    """Ask NVML everything of every GPU, within `deadline` seconds.

    Every GPU that NVML lists is among the entities and owes every reading of
    `probes.nvml_owed.OWED`: what it did not give is `Missing` with the reason.
    The source counts as readable only if each of them answered or is told to be
    at fault.  A GPU that did not answer has `gpu.responsive` missing, and the call that
    hung or crashed as `nvml.<function>`; it is asked the rest once all others were asked.
    `library_env` is added to the child's environment.  `state_dir` (a directory that need not exist) remembers
    children that could not be killed, so that no other joins them.  `started`
    is what `begin` returned, if it was called before.  A `brief` sweep asks only
    what shows a GPU in trouble (`BRIEF_OWED`), and no more is owed then.
    """
    began, until = time.time(), time.monotonic() + deadline - min(GRACE, deadline / 10)
    hung = left_over(state_dir) if started is None else []
    if hung:
        return _refuse(hung, began)
    heard = Heard()
    notes: list[str] = []
    failures = Failures()
    without: set[str] = set()  # functions of the node that are not asked again
    while True:
        heard.start()
        words = [
            *map(str, sorted(failures.skipped(heard.count, heard.done))),
            *sorted(without),
            *failures.left_out,
            *[BRIEFLY] * brief,
        ]
        try:
            if started is None:
                process = start(_CHILD, words, until - time.monotonic(), library_env, state_dir, notes)
            else:
                process = started.process
        except OSError as failure:
            ending = _Ending(f"error:{failure.strerror}")
            break
        started = None
        ending = _ask(process, heard, until, failures, state_dir, notes)
        index, function = heard.asking
        why = ending.why
        if why is None:
            if failures.over(heard.count, heard.done) or until - time.monotonic() < _BLAME_FROM:
                break
        elif not ending.blame:
            break
        elif index is not None:
            gpu = heard.gpu(index)
            gpu.values[f"nvml.{function}"] = (Missing(why), "text", time.time())
            notes.append(f"{called(gpu.entity)} {_did(why)} in {function}")
            failures.add(index, function, why, process.pid in bounded.left_behind())
            if failures.over(heard.count, heard.done):
                ending = _Ending(None)
                break
        elif heard.count is None or function not in _OF_NODE or function in without:
            break
        else:
            without.add(function)
            for out in _OF_NODE[function]:
                heard.node[out.name] = (Missing(why), out.unit, time.time())
            notes.append(f"NVML {_did(why)} in {function}, which was left out")
    failed = failures.told(heard.done)
    return _conclude(heard, ending, failed, notes, began, BRIEF_OWED if brief else OWED)


def begin(deadline: float, *, state_dir: Optional[Path] = None, brief: bool = False) -> Optional[Started]:
    """Let the first child of a sweep begin while the caller does something else; hand it to `sweep`, or to `stop`.

    None if it is better started by `sweep`: where this process must not be
    copied, or an earlier child still hangs.
    """
    if not bounded.may_fork() or left_over(state_dir):
        return None
    try:
        return Started(start(_CHILD, [BRIEFLY] * brief, deadline, None, state_dir, []))
    except OSError:
        return None


def stop(started: Started, state_dir: Optional[Path] = None) -> None:
    """End a child that nobody will listen to."""
    end(started.process, GRACE, state_dir, None, None, [])


def _conclude(
    heard: Heard,
    ending: _Ending,
    failed: Mapping[int, str],
    notes: list[str],
    started: float,
    owed: Sequence[tuple[str, str]],
) -> tuple[list[Reading], list[Entity], list[Source]]:
    """Turn what was heard into readings, and what was not into missing ones."""
    now = time.time()
    readings: list[Reading] = []
    reason: Optional[str] = None
    unanswered = Missing(ending.why or "error:unanswered")
    if heard.fatal is not None:
        word, reason = remedy(*heard.fatal)
        readings.append(Reading(NODE, "nvml.error", word, "text", now))
        unanswered = Missing(f"error:{heard.fatal[0]}")
    elif heard.count is None:
        index, function = heard.asking
        reason = f"NVML {_did(unanswered.reason)} in {function}; {_advice(unanswered.reason, ending.errors)}"
        readings.append(Reading(NODE, f"nvml.{function}", unanswered, "text", now))
    elif ending.why is not None:
        left = [str(index) for index in range(heard.count) if index not in heard.done and index not in failed]
        _, function = heard.asking
        notes.append(f"NVML {_did(unanswered.reason)} in {function} before GPU {', '.join(left)} was read")
    for out in (*(out for call in NODE_CALLS for out in call.outs), CPER):
        readings.append(_reading(NODE, out.name, heard.node.get(out.name, (unanswered, out.unit, now))))
    if heard.count is not None:
        readings.append(Reading(NODE, "gpu.count", heard.count, "count", now))
    for index, why in failed.items():  # however well it answered when the call was left out
        gpu = heard.gpu(index)
        gpu.values[_RESPONSIVE] = (Missing(why), "flag", now)
        if gpu.values.get("gpu.state", ("ok",))[0] == "ok":
            gpu.values["gpu.state"] = (Missing(why), "text", now)
    for index in range(heard.count or 0):
        readings += _owed(heard.gpu(index), index in heard.done, Missing(failed.get(index, NOT_REACHED)), now, owed)
    entities = [heard.gpu(index).entity for index in range(heard.count or 0)]
    unread = [index for index in range(heard.count or 0) if _unread(heard, failed, index)]
    notes += [
        f"{called(heard.gpu(index).entity)} could not be opened ({why})" for index, why in _unopened(heard, failed)
    ]
    if notes:
        reason = "; ".join([reason, *notes] if reason else notes)
    version = heard.node.get("nvml.version")
    origin = f"libnvidia-ml.so.1 {version[0]}" if version and isinstance(version[0], str) else "libnvidia-ml.so.1"
    readable = heard.count is not None and not unread
    return readings, entities, [Source("nvml", origin, readable, started, now, len(readings), reason=reason)]


def _unopened(heard: Heard, failed: Mapping[int, str]) -> list[tuple[int, str]]:
    """The GPUs that NVML lists but could not open, and why; one that is lost is told by its state."""
    opened = sorted(heard.done - set(failed))
    states = ((index, heard.gpu(index).values.get("gpu.state", (None,))[0]) for index in opened)
    return [(index, state.reason) for index, state in states if isinstance(state, Missing)]


def _unread(heard: Heard, failed: Mapping[int, str], index: int) -> bool:
    """Whether so little is known of a GPU that nobody may say that it is well."""
    if index in heard.done and index not in failed:
        return isinstance(heard.gpu(index).values.get("gpu.state", (UNKNOWN,))[0], Missing)
    return failed.get(index) not in FAULTS


def _owed(gpu: Gpu, done: bool, otherwise: Missing, now: float, names: Sequence[tuple[str, str]]) -> list[Reading]:
    """All readings of one GPU: those it owes first, then what else it said."""
    values = dict(gpu.values)
    if done:
        state = values.get("gpu.state", (otherwise,))[0]
        values.setdefault(_RESPONSIVE, (state if isinstance(state, Missing) else True, "flag", now))
        if isinstance(state, Missing):
            otherwise = state
        elif state != "ok":
            otherwise = Missing(state if isinstance(state, str) else str(state))
    owed = [_reading(gpu.entity, name, values.pop(name, (otherwise, unit, now))) for name, unit in names]
    return owed + [_more(gpu, name, value) for name, value in values.items()]


def _more(gpu: Gpu, name: str, value: tuple[Value, str, float]) -> Reading:
    """What a GPU said beyond what it owes; of its MIG devices, each is an entity of its own at the same address."""
    number, _, of_mig = name.partition(" ")
    if not of_mig:
        return _reading(gpu.entity, name, value)
    uuid, called_ = gpu.migs.get(int(number), (None, None))
    return _reading(Entity("mig", gpu.entity.pci, uuid, None, int(number), called_), of_mig, value)


def _reading(entity: Entity, name: str, value: tuple[Value, str, float]) -> Reading:
    return Reading(entity, name, *value)


def _ask(
    process: bounded.Process,
    heard: Heard,
    until: float,
    failures: Failures,
    state_dir: Optional[Path],
    notes: list[str],
) -> _Ending:
    """Hear one child to its end, and see that it ends."""
    ending = _Ending("error:unanswered")
    try:
        ending = _listen(process, heard, until, failures.hung)
    finally:
        index, function = heard.asking
        grace = min(GRACE, max(0.05, until + GRACE - time.monotonic()))
        end(process, grace, state_dir, function, heard.entity(index), notes)
    return ending


def _listen(process: bounded.Process, heard: Heard, until: float, hung: Collection[object]) -> _Ending:
    listener, rest, errors = bounded.Listener(process), b"", b""
    call_until = _call_until(heard, until, hung)
    while True:
        chunk = listener.wait(min(call_until, until))
        if chunk.output and not chunk.ended:
            time.sleep(_GATHER)  # a child says a line for each call; this process has better to do than wake for each
        errors = (errors + chunk.errors)[-500:]
        *lines, rest = (rest + chunk.output).split(b"\n")
        opened = False
        try:
            for line in lines:
                opened |= heard.take(line)
        except (ValueError, TypeError, KeyError, IndexError):
            return _Ending("error:garbled", True)
        if heard.ended or heard.fatal is not None:
            return _Ending(None)
        if opened:
            call_until = _call_until(heard, until, hung)
        if len(rest) > _MAX_LINE:
            return _Ending("error:garbled", True)
        if chunk.ended:
            return _Ending(_status(process, until), True, errors.decode("utf-8", "replace"))
        if chunk.timed_out or time.monotonic() >= until:
            return _Ending(TIMED_OUT, chunk.timed_out and call_until < until)


def _call_until(heard: Heard, until: float, hung: Collection[object]) -> float:
    """When a call that begins now has hung: half the time that is left, so that there is time for the others.

    Once one has hung, each GPU that is left gets its share.
    """
    now = time.monotonic()
    left = until - now
    if left < _BLAME_FROM:
        return until
    index, function = heard.asking
    budget = OPEN_BUDGET if function in _SLOW_CALLS else CALL_BUDGET
    if function in hung or index in hung:
        budget = min(budget, AGAIN_BUDGET)
    elif hung:
        budget = min(budget, max(AGAIN_BUDGET, left / ((heard.count or 0) - len(heard.done) + 1)))
    return now + min(budget, left / 2)


def _status(process: bounded.Process, until: float) -> str:
    status = bounded.ended(process, max(0.05, min(1.0, until - time.monotonic())))
    if status is None:
        return TIMED_OUT
    if status >= 0:
        return f"error:exit-{status}"
    try:
        return f"error:{signal.Signals(-status).name}"
    except ValueError:
        return f"error:signal-{-status}"


def _refuse(hung: list[Stuck], now: float) -> tuple[list[Reading], list[Entity], list[Source]]:
    """Start no other child beside those that hang; what they hang on is still evidence."""
    readings: list[Reading] = []
    entities: list[Entity] = []
    for child in hung:
        entity = child.gpu or NODE
        call = f"nvml.{child.call}" if child.call else "nvml.sweep"
        readings.append(Reading(entity, call, Missing(TIMED_OUT), "text", now))
        if child.gpu is not None and child.gpu not in entities:
            entities.append(child.gpu)
            readings.append(Reading(entity, _RESPONSIVE, Missing(TIMED_OUT), "flag", now))
            readings.append(Reading(entity, "gpu.state", Missing(TIMED_OUT), "text", now))
    first = hung[0]
    where = f" in {first.call}" if first.call else ""
    which = f" on {called(first.gpu)}" if first.gpu else ""
    reason = (
        f"process {first.pid} of an earlier sweep still hangs{where}{which}; no other was started beside it; "
        "reset the GPU or reboot the node"
    )
    return readings, entities, [Source("nvml", "libnvidia-ml.so.1", False, now, now, len(readings), reason=reason)]


def _did(why: str) -> str:
    if why == TIMED_OUT:
        return "did not answer"
    return f"crashed ({why[6:]})" if why.startswith("error:SIG") else f"failed ({why[6:] or why})"


def _advice(why: str, errors: str) -> str:
    if why == TIMED_OUT:
        return "the driver hangs: see the kernel log, and reboot the node if it stays so"
    said = " ".join(errors.split()[-30:])
    return f"it said: {said}" if said else "see the kernel log"
