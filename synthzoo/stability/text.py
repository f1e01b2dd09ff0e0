"""Verdicts as lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from synthzoo.stability.verdict import IN_WORDS

if TYPE_CHECKING:
    from synthzoo.stability.verdict import Failure, ReplicaResult, Scan, Verdict


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield what was found, the verdict first.

    Parameters
    ----------
    verdict
        What was found.

    Yields
    ------
    line
        Without an end.
    """
    word = "PASSED" if verdict.passed else "FAILED"
    yield f"{word}  {verdict.model}: {verdict.protocol}, {verdict.formula}"
    for scan in verdict.scans:
        yield f"  {_scan(scan)}"
    for replica in verdict.replicas:
        yield f"  {_replica(replica)}"
        yield from (f"    {line}" for line in _drifts(replica))
    for note in verdict.notes:
        yield f"  note: {note}"


def failure_text(failure: Failure) -> str:
    """Return kind, time and detail of a failure.

    Parameters
    ----------
    failure
        What went wrong.
    """
    what = IN_WORDS[failure.kind]
    if failure.step == 0 and failure.time_fs == 0:
        return f"{what}: {failure.detail}"
    return (
        f"{what} at {failure.time_fs / 1000:.3f} ps (stage {failure.stage}, step "
        f"{failure.step}): {failure.detail}"
    )


def _scan(scan: Scan) -> str:
    name = f"dimer {scan.name}" if scan.kind == "dimer" else f"squeezed {scan.name}"
    if scan.failure is not None:
        return f"{name}: {failure_text(scan.failure)}"
    unit = "Å" if scan.kind == "dimer" else "of its length"
    return f"{name}: a wall, down to {scan.x[-1]:.2f} {unit}"


def _replica(replica: ReplicaResult) -> str:
    name = f"replica {replica.replica} (seed {replica.seed})"
    if replica.failure is not None:
        return f"{name}: {failure_text(replica.failure)}"
    return f"{name}: survived {replica.simulated_fs / 1000:g} ps"


def _drifts(replica: ReplicaResult) -> Iterator[str]:
    for drift in replica.drifts:
        yield (
            f"{drift.stage}, {drift.timestep_fs:g} fs: energy drifts by "
            f"{drift.drift_meV_per_atom_ps:+.3f} meV/atom/ps and fluctuates by "
            f"{drift.fluctuation_meV_per_atom:.2g} meV/atom"
        )
    if replica.order is not None:
        yield f"fluctuation grows with the time step to the power {replica.order:.2f}"
