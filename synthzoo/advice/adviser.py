"""Fits and tests models of all kinds; what is finished is kept in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.advice import trials
from synthzoo.advice.data import Fold, UserData, curve_sizes, make_folds
from synthzoo.advice.gap import GAP, Gap
from synthzoo.advice.invariants import NEEDS_ACE
from synthzoo.advice.parts import gap_file, linear_file
from synthzoo.advice.request import DIRECT, WITH_GAP, AdviceRequest
from synthzoo.advice.simple_models import (
    ACE_INSTALLED,
    LINEAR,
    AceKind,
    ace_kind,
    simple_kinds,
)
from synthzoo.advice.starts import (
    UNTUNED,
    ShortFit,
    Start,
    file_stem,
    fit_from_nothing,
    fit_to_part,
    judge_start,
    names_that_know,
)
from synthzoo.errors import InputError
from synthzoo.finetuning.fits import run_fits

if TYPE_CHECKING:
    from synthzoo.advice.simple_models import Kind
    from synthzoo.advice.trials import Said, Trial

FITS_FOLDER = "fits"


class Adviser:
    """Tries models on the parts of a user's data.

    ``left_out``: what was not tried, and why; it grows on the way.
    """

    def __init__(
        self,
        request: AdviceRequest,
        data: UserData,
        folder: Path,
        tell: Callable[[str], object],
    ) -> None:
        self.request, self.data = request, data
        self.folder, self._tell = folder, tell
        self.folds = make_folds(data.bulk, request.seed)
        self.sizes = curve_sizes(self.folds)
        self.left_out: list[str] = []

    def announce(self) -> None:
        """Tell what is about to be done."""
        bulk = self.data.bulk
        self._tell(
            f"{len(bulk)} structures with {bulk.atoms} atoms of "
            f"{', '.join(bulk.elements)}; fits to {', '.join(map(str, self.sizes))} of "
            f"them, in each of {len(self.folds)} parts."
        )

    def simple(self) -> Iterator[Trial]:
        """Yield the trials of the models without a network."""
        for name, prepare in simple_kinds(self.data.bulk).items():
            yield from self._tried(name, prepare)
        if not ACE_INSTALLED:
            self.left_out.append(f"{LINEAR}: {NEEDS_ACE}")
        if WITH_GAP in self.request.also:
            yield from self._tried(GAP, Gap, sizes=self.sizes[-1:])
            self._write_gap()
        else:
            self.left_out.append(f"{GAP}: `--also gap` adds it, and takes minutes")

    def _tried(
        self,
        name: str,
        prepare: Callable[[], Kind],
        *,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Trial]:
        """Yield the trials of a kind of model, which is prepared if one is missing."""
        kind: Kind | None = None
        for size in sizes or self.sizes:
            said = []
            for fold in self.folds:
                path = self._path(name, size, fold)
                if not path.is_file():
                    kind = kind or prepare()
                    trials.keep(path, self._said(kind, fold, size))
                said.append(trials.kept(path))
            yield self._trial(name, size, said)
        if name == LINEAR:
            self._write_linear(kind)

    def _said(self, kind: Kind, fold: Fold, size: int) -> Said:
        chosen = fold.training[:size]
        return kind.fit_and_say(self.data.bulk, chosen, fold.tested, self.request.seed)

    def _write_gap(self) -> None:
        path, bulk = gap_file(self.folder), self.data.bulk
        if not path.is_file():
            Gap().write(path, bulk, range(len(bulk)), self.request.seed)

    def _write_linear(self, kind: Kind | None) -> None:
        """Write the linear model of all structures, and those of the parts."""
        bulk, size = self.data.bulk, self.sizes[-1]
        wanted: dict[Path, Sequence[int]] = {linear_file(self.folder): range(len(bulk))}
        for fold in self.folds:
            wanted[linear_file(self.folder, fold.number)] = fold.training[:size]
        missing = {path: part for path, part in wanted.items() if not path.is_file()}
        if not missing:
            return
        ace = kind if isinstance(kind, AceKind) else ace_kind(bulk)
        for path, part in missing.items():
            ace.write(path, bulk, part, self.request.seed)

    def starts(self) -> list[Start]:
        """Return the networks that may be fine-tuned, best forces first."""
        names = [str(model) for model in self.request.models]
        if not names:
            names = names_that_know(self.data.elements)
        if not names:
            self.left_out.append(
                "fine-tuning: no model that comes with synthzoo knows "
                f"{', '.join(self.data.elements)}; `synthzoo distill` makes one from a "
                "potential that does"
            )
        starts = [judge_start(name, self.data) for name in names]
        return sorted(starts, key=lambda start: start.errors.force_rmse_eV_A)

    def chosen(self, starts: Sequence[Start]) -> list[Start]:
        """Return the networks that are fine-tuned; note the others.

        ``starts``: the best first.
        """
        count = len(starts) if self.request.models else self.request.starts
        others = ", ".join(f"`{start.name}`" for start in starts[count:])
        if others:
            self.left_out.append(
                f"fine-tuning of {others}: their forces were worse before any fit; "
                "`--starts` or their names as MODEL add them"
            )
        return list(starts[:count])

    def untuned(self, starts: Sequence[Start]) -> Iterator[Trial]:
        """Yield the trials of networks as they come; mere starts are left out."""
        for start in starts:
            for size in self.sizes if start.is_potential else ():
                said = [
                    start.says(self.data.bulk, fold.training[:size], fold.tested)
                    for fold in self.folds
                ]
                yield self._trial(f"{UNTUNED} {start.name}", size, said)

    def fits(self, tuned: Sequence[Start]) -> list[ShortFit]:
        """Return all fits of networks that are to be made."""
        found = [fit for start in tuned for fit in self._fits(start)]
        return found + self._direct(tuned)

    def _fits(self, start: Start) -> list[ShortFit]:
        """Return the fits of a start; none, and note why, if it is too far away."""
        try:
            return [
                fit_to_part(
                    start,
                    self.data,
                    fold,
                    size,
                    most_atoms=self.request.most_atoms,
                    seed=self.request.seed,
                )
                for size in self.sizes
                for fold in self.folds
            ]
        except InputError as error:
            self.left_out.append(f"fine-tuning of `{start.name}`: {error}")
            return []

    def _direct(self, tuned: Sequence[Start]) -> list[ShortFit]:
        if DIRECT not in self.request.also:
            self.left_out.append(
                "a network trained on the data alone: `--also direct` adds it, and "
                "takes several times as long as all the rest"
            )
            return []
        if not tuned:
            raise InputError(
                "A new network needs the shape of another one: name a MODEL, since "
                "none that comes with synthzoo is fine-tuned."
            )
        seed, size = self.request.seed, self.sizes[-1]
        return [
            fit_from_nothing(tuned[0], self.data, fold, size, seed=seed)
            for fold in self.folds
        ]

    def networks(self, fits: Sequence[ShortFit]) -> Iterator[Trial]:
        """Yield the trials of networks; all fits are made first."""
        if not fits:
            return
        folder = self.folder / FITS_FOLDER
        folder.mkdir(exist_ok=True)
        seen = sum(fit.visits * fit.mean_atoms for fit in fits)
        self._tell(f"{len(fits)} fits of networks, which see {seen:.0f} atoms in all.")
        run_fits([fit.job for fit in fits], folder, workers=self.request.workers)
        for (name, size), members in _by_name(fits).items():
            said = []
            for fit in members:
                path = self._path(name, size, fit.fold)
                if not path.is_file():
                    trials.keep(path, fit.said(folder, self.data.bulk))
                said.append(trials.kept(path))
            yield self._trial(name, size, said)

    def _trial(self, name: str, size: int, said: Sequence[Said]) -> Trial:
        parts = [self.data.bulk.part(fold.tested) for fold in self.folds]
        return trials.trial(name, size, parts, said)

    def _path(self, name: str, size: int, fold: Fold) -> Path:
        return self.folder / f"{file_stem(name)}-{size}-{fold.number}.npz"


def _by_name(
    fits: Sequence[ShortFit],
) -> Mapping[tuple[str, int], list[ShortFit]]:
    groups: dict[tuple[str, int], list[ShortFit]] = {}
    for fit in fits:
        groups.setdefault((fit.name, fit.size), []).append(fit)
    return groups
