"""Figures, and the Markdown around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.build import bulk, graphene
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from synthzoo import demo, demo_check, demo_tuning
from synthzoo.crystals import fit_curve
from synthzoo.document import markdown_table
from synthzoo.figure_style import (
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

    from synthzoo.cards import Crystal
    from synthzoo.crystals import EnergyVolume, Relaxation
    from synthzoo.demo import DemoSummary

MODEL_COLOUR = BLUE
TEACHER_COLOUR = ORANGE
BOND_COLOUR = DARK_GREY


def write_demo_figure(folder: Path, summary: DemoSummary) -> None:
    """Draw the crystals, the energy–volume curve and the dynamics of a demo.

    Parameters
    ----------
    folder
        Where to write `synthzoo.demo.FIGURE_FILE`.
    summary
        What the demo found.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(11, 7.5), dpi=150, layout=layout)
    figure.suptitle(
        f"synthzoo demo: {_title(summary)} "
        f"(weights {summary.weights_sha256[:8]}, seed {summary.seed})",
        fontsize=13,
    )
    panels = figure.subplot_mosaic("abcc;ttee")
    _draw_crystals((panels["a"], panels["b"]), summary)
    _draw_curve(panels["c"], summary)
    _draw_dynamics(panels["t"], panels["e"], summary)
    save_figure(figure, folder / demo.FIGURE_FILE)


def _title(summary: DemoSummary) -> str:
    """Return a short name: a folder's or repository's own, without where it lies."""
    return Path(summary.model).name


def _draw_crystals(panels: tuple[Axes, Axes], summary: DemoSummary) -> None:
    sheet = graphene(a=summary.graphene.a_A, size=(4, 4, 1))
    drawings = (_whole_cell(summary.diamond.a_A), sheet.positions)
    tilts = ((-80.0, -16.0), (0.0, 0.0))
    crystals = (summary.diamond, summary.graphene)
    for axes, found, positions, tilt in zip(
        panels, crystals, drawings, tilts, strict=True
    ):
        _draw_bonds(axes, _tilted(positions, *tilt))
        axes.set_title(_crystal_title(found, summary), fontsize=10)


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
    axes.set_aspect("equal")
    axes.set_axis_off()


def _crystal_title(found: Relaxation, summary: DemoSummary) -> str:
    title = f"{found.name}: $a$ = {found.a_A:.3f} Å"
    known = _known(found.name, summary)
    if known is None or summary.reference is None:
        return title
    return f"{title}\n{summary.reference.teacher}: {known.a_A:.3f} Å"


def _known(name: str, summary: DemoSummary) -> Crystal | None:
    return summary.reference.crystals.get(name) if summary.reference else None


def _draw_curve(axes: Axes, summary: DemoSummary) -> None:
    curve, known = summary.curve, _known("diamond", summary)
    axes.plot(
        curve.volumes_A3_per_atom,
        curve.energies_eV_per_atom,
        color=MODEL_COLOUR,
        linewidth=2,
        label=_title(summary),
    )
    if known and summary.reference:
        axes.plot(
            known.volumes_A3_per_atom,
            known.energies_eV_per_atom,
            "o",
            markersize=5,
            color=TEACHER_COLOUR,
            label=f"{summary.reference.teacher} (its teacher)",
        )
    axes.set_title("Diamond, energy over volume", fontsize=11)
    axes.set_xlabel("volume (Å³/atom)")
    axes.set_ylabel("energy (eV/atom)")
    axes.legend(frameon=False)
    tidy(axes)


def _draw_dynamics(temperature: Axes, energy: Axes, summary: DemoSummary) -> None:
    dynamics = summary.dynamics
    size = f"{dynamics.atoms} atoms of diamond, constant energy"
    temperature.plot(dynamics.times_ps, dynamics.temperatures_K, color=MODEL_COLOUR)
    temperature.axhline(demo.TEMPERATURE_K, color=QUIET_COLOUR, linestyle="--")
    temperature.set_title(f"Temperature, {size}", fontsize=11)
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
    """Write what a demo did, its numbers beside the teacher's, and what to try next.

    Parameters
    ----------
    folder
        Where to write `synthzoo.demo.REPORT_FILE`.
    summary
        What the demo found.
    """
    text = _REPORT.format(
        title=_title(summary),
        model=summary.model,
        table=demo_table(summary),
        figure=demo.FIGURE_FILE,
        relaxed=demo.RELAXED_FILE,
        curve=demo.CURVE_FILE,
        trajectory=demo.TRAJECTORY_FILE,
        results=demo.RESULTS_FILE,
        atoms=summary.dynamics.atoms,
        duration_ps=summary.dynamics.times_ps[-1],
        timestep_fs=summary.dynamics.timestep_fs,
        start_K=demo.START_K,
        temperature_K=demo.TEMPERATURE_K,
        points=len(summary.curve.volumes_A3_per_atom),
        tuning=_tuning_text(summary),
        check=_check_text(summary),
        seconds=summary.seconds,
        sha256=summary.weights_sha256,
        seed=summary.seed,
        versions=", ".join(f"{key} {value}" for key, value in summary.versions.items()),
    )
    (folder / demo.REPORT_FILE).write_text(text, encoding="utf-8")


_REPORT = """\
# {title} in {seconds:.0f} seconds

{table}

![crystals, energy–volume curve, dynamics]({figure})

## What was done

1. Diamond and graphene were built with a wrong lattice constant and displaced atoms,
   then cell and positions were relaxed: `{relaxed}`.
2. The energy of diamond was computed at {points} volumes: `{curve}`.
3. {atoms} atoms of diamond moved for {duration_ps:g} ps at constant energy
   (velocity Verlet, {timestep_fs:g} fs), from velocities drawn at {start_K:.0f} K,
   half of which goes into the bonds, so about {temperature_K:.0f} K remain:
   `{trajectory}`.
{tuning}{check}
All numbers are in `{results}`. Energies are relative to isolated atoms.
Weights {sha256}; seed {seed}; {versions}.

## What to try next

- Your own structures: `synthzoo predict {model} structures.xyz -o predicted.xyz`
- In a script of yours:
  `from synthzoo import load_calculator; atoms.calc = load_calculator("{model}")`
- What the model can and cannot do: `synthzoo show {model}`
- Look at the dynamics: `ase gui {trajectory}`
- Your own DFT structures: `synthzoo finetune {model} my_dft.xyz -o my-model`
- Does it survive your conditions? `synthzoo md my-model my_start.xyz`
"""


def _tuning_text(summary: DemoSummary) -> str:
    """Return what fine-tuning gave, as the fourth of the things that were done."""
    found = summary.tuned
    if found is None:
        return ""
    table = markdown_table(
        ("On structures that it has not seen", "before", "after"),
        [
            _pair("energy RMSE (meV/atom)", found.energy_rmse_meV_per_atom, 1),
            _pair("force RMSE (eV/Å)", found.force_rmse_eV_A, 3),
        ],
    )
    return f"""\
4. The model was fine-tuned on {found.training_structures} structures of the sample
   `{found.sample}` (DFT, strained crystals and surfaces, with
   `--replay {demo_tuning.REPLAY} --replay-share {demo_tuning.REPLAY_SHARE}`), and
   tested on {found.test_structures} others:
   `{demo_tuning.TUNED_FOLDER}/report.html`, {found.seconds:.0f} s.

{table}

{found.verdict}
"""


def _check_text(summary: DemoSummary) -> str:
    """Return the verdict of the last of the things that were done."""
    check, number = summary.check, 5 if summary.tuned else 4
    model = "the fine-tuned model" if summary.tuned else "the model"
    verdict = "passed" if check.passed else "failed"
    lines = "\n".join(f"   - {line}" for line in check.lines)
    return f"""\
{number}. Is {model} stable? It **{verdict}** a short form of the protocol
   `{check.protocol}`: `{demo_check.CHECK_FOLDER}/report.html`.

{lines}
"""


def _pair(name: str, values: tuple[float, float], digits: int) -> tuple[str, ...]:
    return (name, *(f"{value:.{digits}f}" for value in values))


def demo_table(summary: DemoSummary) -> str:
    """Return the numbers of a demo as a Markdown table.

    Parameters
    ----------
    summary
        What the demo found.
    """
    teacher = summary.reference.teacher if summary.reference else "teacher"
    header = ("Quantity", _title(summary), teacher, "Difference")
    crystals = [row for name in ("diamond", "graphene") for row in _rows(name, summary)]
    dynamics = summary.dynamics
    return markdown_table(
        header,
        [
            *crystals,
            *_curve_rows(summary),
            ("MD: mean temperature (K)", f"{dynamics.mean_temperature_K:.0f}", "", ""),
            (
                "MD: energy drift (meV/atom)",
                f"{dynamics.drift_meV_per_atom:+.3f}",
                "",
                "",
            ),
        ],
    )


def _rows(name: str, summary: DemoSummary) -> list[tuple[str, ...]]:
    found: Relaxation = getattr(summary, name)
    known = _known(name, summary)
    remark = "" if found.converged else ", not converged"
    return [
        _row(
            f"{name}: lattice constant (Å){remark}",
            found.a_A,
            known.a_A if known else None,
        ),
        _row(
            f"{name}: energy (eV/atom){remark}",
            found.energy_eV_per_atom,
            known.energy_eV_per_atom if known else None,
        ),
    ]


def _curve_rows(summary: DemoSummary) -> list[tuple[str, ...]]:
    known = _known("diamond", summary)
    teacher: EnergyVolume | None = None
    if known and known.volumes_A3_per_atom:
        teacher = fit_curve(known.volumes_A3_per_atom, known.energies_eV_per_atom)
    return [
        _row(
            "diamond: volume at the minimum (Å³/atom)",
            summary.curve.minimum_A3_per_atom,
            teacher.minimum_A3_per_atom if teacher else None,
        ),
        _row(
            "diamond: bulk modulus (GPa)",
            summary.curve.bulk_modulus_GPa,
            teacher.bulk_modulus_GPa if teacher else None,
            digits=0,
        ),
    ]


def _row(
    name: str, found: float | None, known: float | None, *, digits: int = 3
) -> tuple[str, ...]:
    if found is None:
        return (name, "no minimum", "" if known is None else f"{known:.{digits}f}", "")
    if known is None:
        return (name, f"{found:.{digits}f}", "", "")
    share = 100 * (found - known) / abs(known)
    return (name, f"{found:.{digits}f}", f"{known:.{digits}f}", f"{share:+.2f} %")
