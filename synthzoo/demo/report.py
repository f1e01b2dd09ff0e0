"""Figures, and the Markdown around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.build import bulk, graphene
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from synthzoo.demo import summary as names
from synthzoo.evaluation.crystal_properties import EXPERIMENT_DOIS, EXPERIMENTS
from synthzoo.evaluation.crystals import ATOMS_PER_CELL, fit_curve, smooth_curve
from synthzoo.finetuning.figures import colour_keys, draw_errors
from synthzoo.reports.document import markdown_table, render
from synthzoo.reports.style import (
    BLUE,
    DARK_GREY,
    ORANGE,
    QUIET_COLOUR,
    save_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from synthzoo.demo.summary import DemoSummary, TunedSample
    from synthzoo.evaluation.crystals import EnergyVolume, Relaxation
    from synthzoo.zoo.card_records import Crystal

MODEL_COLOUR = BLUE
TEACHER_COLOUR = ORANGE
BOND_COLOUR = DARK_GREY

CRYSTALS = ("diamond", "graphene")
ROWS = ("abcc", "ffgg", "ttee")
"""Of the figure: crystals and curve, fine-tuning, dynamics."""


def write_demo_figure(folder: Path, summary: DemoSummary) -> None:
    """Draw the crystals, the energy–volume curve and the dynamics of a demo."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    rows = ROWS if summary.tuned else (ROWS[0], ROWS[-1])
    figure = Figure(figsize=(11, 3.8 * len(rows)), dpi=150, layout=layout)
    figure.suptitle(
        f"synthzoo demo: {_title(summary)} "
        f"(weights {summary.weights_sha256[:8]}, seed {summary.seed})",
        fontsize=13,
    )
    panels = figure.subplot_mosaic(";".join(rows))
    _draw_crystals((panels["a"], panels["b"]), summary)
    _draw_curve(panels["c"], summary)
    if summary.tuned:
        _draw_tuning((panels["f"], panels["g"]), summary.tuned)
    _draw_dynamics(panels["t"], panels["e"], summary)
    save_figure(figure, folder / names.FIGURE_FILE)


def _title(summary: DemoSummary) -> str:
    """Return a short name: a folder's or repository's own, without where it lies."""
    return Path(summary.model).name


def _draw_crystals(panels: tuple[Axes, Axes], summary: DemoSummary) -> None:
    sheet = graphene(a=summary.graphene.a_A, size=(4, 4, 1))
    drawings = (_whole_cell(summary.diamond.a_A), sheet.positions)
    tilts = ((-80.0, -16.0), (0.0, 0.0))
    crystals = (summary.diamond, summary.graphene)
    for axes, relaxed, positions, tilt in zip(
        panels, crystals, drawings, tilts, strict=True
    ):
        _draw_bonds(axes, _tilted(positions, *tilt))
        axes.set_title(_crystal_title(relaxed, summary), fontsize=10)


def _whole_cell(a_A: float) -> NDArray[np.float64]:
    """Return the atoms of a diamond cell, also those on its far faces."""
    atoms = bulk("C", "diamond", a=a_A, cubic=True).repeat(2)
    inside = (atoms.positions < a_A * 1.01).all(axis=1)
    positions: NDArray[np.float64] = atoms.positions[inside]
    return positions


def _tilted(
    positions: NDArray[np.float64], x_degrees: float, y_degrees: float
) -> NDArray[np.float64]:
    """Return positions turned around x, then around y."""
    atoms = Atoms(positions=positions)
    atoms.rotate(x_degrees, "x")
    atoms.rotate(y_degrees, "y")
    turned: NDArray[np.float64] = atoms.positions
    return turned


def _draw_bonds(axes: Axes, positions: NDArray[np.float64]) -> None:
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    bonded = np.triu(distances < 1.1 * distances[distances > 0].min(), 1)
    for bond in np.argwhere(bonded):
        x, y, _ = positions[bond].T
        axes.plot(x, y, color=BOND_COLOUR, linewidth=2.5, zorder=1)
    shown = positions[bonded.any(axis=0) | bonded.any(axis=1)]
    x, y, _ = shown[np.argsort(shown[:, 2])].T
    axes.scatter(x, y, s=70, color=MODEL_COLOUR, edgecolors="white", zorder=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_axis_off()


def _crystal_title(found: Relaxation, summary: DemoSummary) -> str:
    known, measured = _known(found.name, summary), EXPERIMENTS[found.name].a_A
    others = [f"experiment: {measured:.3f} Å"]
    if known is not None and summary.reference is not None:
        others.insert(0, f"{summary.reference.teacher}: {known.a_A:.3f} Å")
    return "\n".join((f"{found.name}: $a$ = {found.a_A:.3f} Å", *others))


def _known(name: str, summary: DemoSummary) -> Crystal | None:
    return summary.reference.crystals.get(name) if summary.reference else None


def _draw_curve(axes: Axes, summary: DemoSummary) -> None:
    curve, known = summary.curve, _known("diamond", summary)
    points = curve.volumes_A3_per_atom, curve.energies_eV_per_atom
    axes.plot(*smooth_curve(*points), color=MODEL_COLOUR, linewidth=2)
    axes.plot(*points, "o", color=MODEL_COLOUR, label=_title(summary))
    if known and known.volumes_A3_per_atom and summary.reference:
        points = known.volumes_A3_per_atom, known.energies_eV_per_atom
        axes.plot(*smooth_curve(*points), color=TEACHER_COLOUR, linewidth=1, zorder=1)
        axes.plot(
            *points,
            "o",
            color=TEACHER_COLOUR,
            fillstyle="none",
            label=f"{summary.reference.teacher} (its teacher)",
        )
    axes.set_title("Diamond, energy over volume", fontsize=11)
    axes.set_xlabel("volume (Å³/atom)")
    axes.set_ylabel("energy (eV/atom)")
    axes.legend(frameon=False)
    tidy(axes)


def _draw_tuning(panels: tuple[Axes, Axes], tuned: TunedSample) -> None:
    draw_errors(panels, tuned.before, tuned.after)
    panels[0].set_title(
        f"Fine-tuned on {tuned.training_structures} DFT structures: "
        f"errors on {tuned.test_structures} others",
        fontsize=11,
    )
    panels[1].legend(
        handles=colour_keys(tuned.before),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3,
        frameon=False,
    )
    panels[1].tick_params(labelleft=False)


def _draw_dynamics(temperature: Axes, energy: Axes, summary: DemoSummary) -> None:
    dynamics = summary.dynamics
    size = f"{dynamics.atoms} atoms of diamond, constant energy"
    temperature.plot(dynamics.times_ps, dynamics.temperatures_K, color=MODEL_COLOUR)
    temperature.axhline(names.TEMPERATURE_K, color=QUIET_COLOUR, linestyle="--")
    temperature.set_title(f"{size}: {dynamics.mean_temperature_K:.0f} K", fontsize=11)
    temperature.set_ylabel("temperature (K)")
    temperature.set_ylim(bottom=0)
    energy.plot(dynamics.times_ps, dynamics.energies_meV_per_atom, color=MODEL_COLOUR)
    limit = 1.2 * max(1.0, float(np.abs(dynamics.energies_meV_per_atom).max()))
    energy.set_ylim(-limit, limit)
    energy.axhline(0, color=QUIET_COLOUR, linestyle="--")
    energy.set_title(
        f"Total energy: drift {dynamics.drift_meV_per_atom:+.3f} meV/atom", fontsize=11
    )
    energy.set_ylabel("change (meV/atom)")
    for axes in (temperature, energy):
        axes.set_xlabel("time (ps)")
        axes.set_xlim(0, dynamics.times_ps[-1])
        tidy(axes)


def write_demo_report(folder: Path, summary: DemoSummary) -> None:
    """Write what a demo did, its numbers beside the teacher's, and what to try next."""
    text = render(
        "demo.md",
        summary=summary,
        files=names,
        dynamics=summary.dynamics,
        tuned=summary.tuned,
        check=summary.check,
        title=_title(summary),
        table=demo_table(summary),
        sources=", ".join(
            f"{name} [doi:{doi}](https://doi.org/{doi})"
            for name, doi in ((name, EXPERIMENT_DOIS[name]) for name in CRYSTALS)
        ),
        errors=_errors_table(summary.tuned) if summary.tuned else "",
        versions=", ".join(f"{key} {value}" for key, value in summary.versions.items()),
    )
    (folder / names.REPORT_FILE).write_text(text, encoding="utf-8")


def _errors_table(tuned: TunedSample) -> str:
    before, after = tuned.before[0], tuned.after[0]
    energies = [f"{errors.energy_rmse_meV_per_atom:.1f}" for errors in (before, after)]
    forces = [f"{errors.force_rmse_eV_A:.3f}" for errors in (before, after)]
    return markdown_table(
        ("On structures that it has not seen", "before", "after"),
        [("energy RMSE (meV/atom)", *energies), ("force RMSE (eV/Å)", *forces)],
    )


def demo_table(summary: DemoSummary) -> str:
    """Return the numbers of a demo as a Markdown table."""
    teacher = summary.reference.teacher if summary.reference else "teacher"
    header = ("Quantity", _title(summary), teacher, "Difference", "Experiment")
    dynamics = summary.dynamics
    rows = [row for name in CRYSTALS for row in _crystal_rows(name, summary)]
    return markdown_table(
        header,
        [
            *rows,
            *_curve_rows(summary),
            _row("MD: mean temperature (K)", dynamics.mean_temperature_K, digits=0),
            _row("MD: energy drift (meV/atom)", dynamics.drift_meV_per_atom),
        ],
    )


def _crystal_rows(name: str, summary: DemoSummary) -> list[tuple[str, ...]]:
    relaxed: Relaxation = getattr(summary, name)
    known = _known(name, summary)
    remark = "" if relaxed.converged else ", not converged"
    return [
        _row(
            f"{name}: lattice constant (Å){remark}",
            relaxed.a_A,
            known.a_A if known else None,
            experiment=EXPERIMENTS[name].a_A,
        ),
        _row(
            f"{name}: energy (eV/atom){remark}",
            relaxed.energy_eV_per_atom,
            known.energy_eV_per_atom if known else None,
            unit="eV/atom",
        ),
    ]


def _curve_rows(summary: DemoSummary) -> list[tuple[str, ...]]:
    known, measured = _known("diamond", summary), EXPERIMENTS["diamond"]
    teacher: EnergyVolume | None = None
    if known and known.volumes_A3_per_atom:
        teacher = fit_curve(known.volumes_A3_per_atom, known.energies_eV_per_atom)
    return [
        _row(
            "diamond: volume at the minimum (Å³/atom)",
            summary.curve.minimum_A3_per_atom,
            teacher.minimum_A3_per_atom if teacher else None,
            experiment=measured.a_A**3 / ATOMS_PER_CELL if measured.a_A else None,
        ),
        _row(
            "diamond: bulk modulus (GPa)",
            summary.curve.bulk_modulus_GPa,
            teacher.bulk_modulus_GPa if teacher else None,
            experiment=measured.bulk_modulus_GPa,
            digits=0,
        ),
    ]


def _row(
    name: str,
    found: float | None,
    known: float | None = None,
    *,
    experiment: float | None = None,
    digits: int = 3,
    unit: str = "",
) -> tuple[str, ...]:
    """Return a row; the difference is in a unit, or in per cent if none is given."""
    difference = ""
    if found is not None and known is not None and unit:
        difference = f"{_signed(found - known, digits)} {unit}"
    elif found is not None and known is not None:
        difference = f"{_signed(100 * (found - known) / abs(known), 1)} %"
    return (
        name,
        "no minimum" if found is None else f"{found:.{digits}f}",
        "" if known is None else f"{known:.{digits}f}",
        difference,
        "" if experiment is None else f"{experiment:.{digits}f}",
    )


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign, and zero without one."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]
