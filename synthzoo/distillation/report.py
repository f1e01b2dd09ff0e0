"""The report of a distillation, for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from matplotlib.figure import Figure as Drawing

from synthzoo.distillation.findings import (
    DIRECT,
    POTENTIAL,
    STUDENT,
    TEACHER,
    Distilled,
)
from synthzoo.distillation.stages import (
    DYNAMICS_FOLDER,
    POTENTIAL_FOLDER,
    STUDENT_FOLDER,
)
from synthzoo.reports.document import (
    Figure,
    Heading,
    Items,
    Paragraph,
    Table,
    write_document,
)
from synthzoo.reports.style import (
    BELOW,
    BLUE,
    DARK_GREY,
    GREEN,
    ORANGE,
    save_figure,
    tidy,
)
from synthzoo.runs.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.distillation.probes import Curve
    from synthzoo.reports.document import Block

CURVES_FILE, RESULTS_FILE = "curves.png", "results.json"
PANELS_IN_A_ROW = 4
WALL_EV = 20.0
"""The repulsion of a dimer is drawn up to this energy."""

STYLES = {
    TEACHER: {"color": DARK_GREY, "linestyle": ":", "linewidth": 2.5},
    STUDENT: {"color": ORANGE, "linestyle": "--"},
    POTENTIAL: {"color": BLUE},
    DIRECT: {"color": GREEN},
}

SEEN = {
    TEACHER: "after one constant for each element",
    STUDENT: "before it saw any of your labels, but for the constants",
    POTENTIAL: "on structures that it had not seen",
    DIRECT: "a new network, on structures that it had not seen",
}


def write_report(folder: Path, found: Distilled) -> Path:
    """Write figure, report and numbers; return the path of the report."""
    draw_curves(folder / CURVES_FILE, found.curves)
    write_text(folder / RESULTS_FILE, _json(_numbers(found)))
    return write_document(folder, _blocks(folder, found))


def _json(values: dict[str, Any]) -> str:
    """Return JSON, in which what is no number is null."""
    return msgspec.json.format(msgspec.json.encode(values), indent=1).decode()


def _numbers(found: Distilled) -> dict[str, Any]:
    """Return what was found, for programs."""
    return {
        "verdict": found.verdict,
        "errors": [asdict(each) for each in found.errors],
        "compared": found.compared,
        "student": {
            "energy_meV_per_atom": found.student.energy_rmse_meV_per_atom,
            "force_eV_A": found.student.force_rmse_eV_A,
            "structures": found.student.labelled,
        },
        "passed": found.dynamics.passed,
        "teacher_s_per_atom": found.teacher_s,
        "potential_s_per_atom": found.potential_s,
        "curves": [asdict(curve) for curve in found.curves],
        "notes": found.notes,
    }


def _blocks(folder: Path, found: Distilled) -> list[Block]:
    student = found.student
    return [
        Heading(text=f"{folder.name}: a potential distilled from {found.teacher}"),
        Items(texts=found.verdict),
        Paragraph(
            text=f"The potential is the folder `{POTENTIAL_FOLDER}`; in Python, "
            f'`synthzoo.load_calculator("{folder.name}/{POTENTIAL_FOLDER}")` is an ASE '
            f"calculator. `{POTENTIAL_FOLDER}/report.md` tells more of the "
            f"fine-tuning, `{DYNAMICS_FOLDER}/report.md` of the dynamics."
        ),
        Heading(text="Errors against your labels"),
        Table(
            header=("potential", "structures", "meV/atom", "eV/Å", ""),
            rows=tuple(
                (
                    each.name,
                    str(each.structures),
                    f"{each.energy_meV_per_atom:.1f}",
                    f"{each.force_eV_A:.3f}",
                    SEEN[each.name],
                )
                for each in found.errors
            ),
        ),
        Paragraph(
            text="Root-mean-square errors. The synthetic structures lie around all of "
            "your structures, also those that a fit has not seen, but carry labels of "
            "the teacher only."
        ),
        Heading(text="Student and teacher"),
        Paragraph(
            text=f"On synthetic structures that the student had not seen, its errors "
            f"against the teacher are {student.energy_rmse_meV_per_atom:.1f} meV/atom "
            f"and {student.force_rmse_eV_A:.3f} eV/Å. It learnt from "
            f"{student.labelled} structures, each seen {student.epochs} times."
        ),
        Heading(text="Simple systems"),
        Figure(
            file=folder / CURVES_FILE,
            caption="Your crystals at other volumes, atoms not relaxed, and pairs of "
            "atoms: teacher, student and fine-tuned potential.",
        ),
        Heading(text="What was planned"),
        Items(texts=tuple(found.plan.lines())),
        *_remarks(found.notes),
        Paragraph(
            text="`recipe.yaml` makes the student again (`synthzoo build`); its "
            f"structures and labels are in `{STUDENT_FOLDER}`."
        ),
    ]


def _remarks(notes: Sequence[str]) -> list[Block]:
    if not notes:
        return []
    return [Heading(text="What was noticed in your data"), Items(texts=tuple(notes))]


def draw_curves(path: Path, curves: Sequence[Curve]) -> Path:
    """Draw energies over volumes and distances, one panel each."""
    columns = min(PANELS_IN_A_ROW, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = Drawing(
        figsize=(3.1 * max(columns, 2), 2.9 * rows + 0.4),
        dpi=120,
        layout="constrained",
    )
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes, curve in zip(panels, curves, strict=False):
        _draw_curve(axes, curve)
    for axes in panels[len(curves) :]:
        axes.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, **BELOW)
    return save_figure(figure, path)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    for name, energies in curve.energies_eV.items():
        axes.plot(curve.x, energies, label=name, **STYLES[name])  # type: ignore[arg-type]
    is_volume = curve.kind == "volume"
    axes.set_xlabel("volume (Å³/atom)" if is_volume else "distance (Å)")
    axes.set_ylabel("energy (eV/atom)" if is_volume else "energy (eV)")
    if not is_volume:
        shown = np.array(list(curve.energies_eV.values()))
        low, high = np.nanmin(shown), np.nanmax(shown)
        axes.set_ylim(max(low, -WALL_EV) - 1, min(high, WALL_EV) + 1)
    axes.set_title(curve.name.removesuffix(", volume"), fontsize=10)
    tidy(axes)
