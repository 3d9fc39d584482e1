"""Sets of nodes as operators write them, `gpu[001-512]` or `@rack7`: ClusterShell's, which is an extra.

Where it is not installed, names are only listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

INSTALL = "ClusterShell is missing; install it with: pip install 'gpu-triage[fleet]'"
FEW = 5


class Unusable(Exception):
    """The set of nodes cannot be used; the text says why and what would help."""


def fold(names: Iterable[str]) -> str:
    """Return the names as one set, or the first of them where ClusterShell is not installed."""
    listed = sorted(set(names))
    try:
        from ClusterShell.NodeSet import NodeSet, NodeSetException
    except ImportError:
        more = f" and {len(listed) - FEW} more" if len(listed) > FEW else ""
        return ", ".join(listed[:FEW]) + more
    try:
        return str(NodeSet.fromlist(listed, resolver=False))
    except NodeSetException:  # brackets in a name that no sweep asked for
        return ",".join(listed)


def unfold(given: Sequence[str], without: Sequence[str] = ()) -> list[str]:
    """Return the names of all nodes of these sets and groups, in order, less those of the others.

    Raises:
        Unusable: if ClusterShell is missing, or one of them is no set of usable names.
    """
    from triage.fleet.ways import NODE_NAME

    try:
        from ClusterShell.NodeSet import NodeSet, NodeSetException
        from ClusterShell.NodeUtils import GroupResolverError, GroupSourceError
    except ImportError:
        raise Unusable(INSTALL) from None
    try:
        names = [str(name) for name in NodeSet.fromlist(list(given)) - NodeSet.fromlist(list(without))]
    except (NodeSetException, GroupResolverError, GroupSourceError) as error:
        said = " ".join(str(error).split())[:300]
        raise Unusable(f"{','.join(given)}: {said}; write it like gpu[001-512] or @group") from None
    for name in names:
        if not NODE_NAME.match(name):
            raise Unusable(f"{name!r} is no name of a node")
    return names
