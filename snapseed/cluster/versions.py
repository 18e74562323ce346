"""Do the workers of a cluster have the versions that this process has? Others may make other rows, or other bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from snapseed.errors import UsageError

# More workers are counted, not named.
_NAMED = 3


def require_same_versions(workers: Mapping[str, Mapping[str, str | None]], ours: Mapping[str, str]) -> None:
    """Raise `UsageError` unless each worker, by its address, has all versions that are ours. It lists all others."""
    others = defaultdict[tuple[str, str], list[str]](list)
    for worker, versions in workers.items():
        for name, version in ours.items():
            if (theirs := versions.get(name) or "none") != version:
                others[name, theirs].append(worker)
    if others:
        wrong = dict.fromkeys(name for name, _ in others)
        raise UsageError(
            "workers of the cluster have other versions than this machine",
            observed="\n".join(f"{name} {version} on {_listed(found)}" for (name, version), found in others.items()),
            expected=", ".join(f"{name} {ours[name]}" for name in wrong),
            next_step="install these versions on the workers, or those of the workers here",
        )


def _listed(workers: list[str]) -> str:
    more = len(workers) - _NAMED
    return ", ".join(workers[:_NAMED]) + (f" and {more} more" if more > 0 else "")
