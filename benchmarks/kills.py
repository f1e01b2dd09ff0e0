"""Kill the long commands at every kind of moment and see that nothing is lost.

    python benchmarks/kills.py                 # all: about half an hour
    python benchmarks/kills.py pretrain md     # two of the five commands
    python benchmarks/kills.py --kills 4 --levels 2

`relabel`, `generate`, `pretrain`, `finetune` and `md` run on toy inputs that take
seconds. Each is killed (SIGKILL) at random moments and at those that matter: while a
state, a summary or a report is written, between two renames, while it tidies up. Half
of the kills hit the main process alone, the others its children, too. Files for a
moment (TMPDIR) lie on another file system where /dev/shm is one. Then each command
runs on a small disk with ten levels of free space, and twice at once.

After each case the same command is given again. It must end well and leave the same
files, byte for byte but for wall times; no process may outlive the killed one, and no
temporary file, lock or working folder may stay. The table on stdout counts the cases;
every case that failed is named, and the exit code is 1.

Commands run in forks of this process, which has imported everything once: an import
would take longer than a run. Linux only; small disks need root (or are skipped).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from synthzoo.runs.resumable import MANIFEST_FILE, working_folder

ELEMENT = "Br"  # no crystal of it is known, which finetune would measure
TEACHER = (
    'ase:ase.calculators.lj.LennardJones{"sigma": 2.0, "epsilon": 0.2, "rc": 5.0, '
    '"smooth": true, "isolated_atom_energies_eV": {"Br": 0}}'
)
NETWORK = {
    "num_layers": 1,
    "num_features": [2, 2],
    "type_embed_num_features": 2,
    "radial_mlp_width": 4,
    "num_bessels": 3,
    "cutoff_A": 4.0,
}
EPOCHS = 12
RECIPES: dict[str, Any] = {
    "generate": {
        "element": ELEMENT,
        "seed": 3,
        "driver": TEACHER,
        "parts": [
            {
                "kind": "melt-quench",
                "trajectories": 4,
                "atoms": [6, 8],
                "density_g_cm3": [2.0, 3.0],
                "min_distance_A": 1.9,
                "melt_K": [1500, 1500],
                "melt_fs": 60,
                "quench_fs": 60,
                "anneal_K": [800, 800],
                "anneal_fs": 60,
                "cool_fs": 60,
                "sample_fs": 10,
            },
            {
                "kind": "packing",
                "count": 12,
                "atoms": [4, 8],
                "density_g_cm3": [2.0, 3.0],
                "min_distance_A": 1.9,
            },
        ],
    },
    "pretrain": {
        "model": NETWORK,
        "fit": {
            "batch_atoms": 60,
            "max_epochs": EPOCHS,
            "warmup_steps": 3,
            "validation_share": 0.2,
            "threads": 1,
        },
    },
    "finetune": {"visits": 300, "check_share": 0.0, "threads": 1},
    "md": {
        "timestep_fs": 4,
        "save_fs": 80,
        "sample_fs": 8,
        "stages": [
            {"kind": "dimers"},
            {
                "kind": "dynamics",
                "name": "warm",
                "duration_fs": 2400,
                "start_K": 100,
            },
        ],
    },
}
POLL_S = 0.0005
LONGEST_S = 300.0
MIB = 2**20
REFUSED = re.compile(r"Error: .*(Another run is writing to|exists).*\n")
NO_ROOM = re.compile(r"Error: \[Errno 28\] No space left on device: '[^']+'.*")
TIMES = re.compile(
    r"\d[\d.,]*( ×)? ?(ms|s|seconds?|min|minutes?)\b"
    r"|\d+(?= \| `)|\d+(?=</td><td><code>)"  # the table of replicas
)
"""Wall times in reports: all in which two undisturbed runs may differ."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command with its arguments, and the moments of its run that matter.

    Attributes
    ----------
    name
        Of the command.
    arguments
        Without the output.
    output
        Name of its output, a file or a folder.
    moments
        By what happens then, patterns relative to the folder of the output: all must
        match, or, with a "!" before them, none.
    """

    name: str
    arguments: tuple[str, ...]
    output: str
    moments: dict[str, tuple[str, ...]]

    def line(self, folder: Path) -> list[str]:
        """Return the words of the command that writes into a folder."""
        output = str(folder / self.output)
        words = [output] if self.name == "relabel" else ["-o", output]
        return [self.name, *self.arguments, *words]


@dataclass
class Process:
    """A command that runs in a fork.

    Attributes
    ----------
    pid
        Number of the process, and of the group of its children.
    log
        What it prints.
    code
        How it ended; None before it is known.
    """

    pid: int
    log: Path
    code: int | None = None

    def running(self) -> bool:
        """Return whether it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is None

    def wait(self) -> int:
        """Return its exit code."""
        end = time.monotonic() + LONGEST_S
        while self.running():
            if time.monotonic() > end:
                self.kill(tree=True)
            time.sleep(POLL_S)
        return self.code or 0

    def kill(self, *, tree: bool) -> None:
        """Kill it, alone or with its children."""
        (os.killpg if tree else os.kill)(self.pid, signal.SIGKILL)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")


@dataclass
class Tally:
    """What was found, by command and kind of case."""

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, command: Command, kind: str, *, hit: bool, wrong: list[str]) -> None:
        """Count a case; ``hit`` says whether the disturbance came to pass."""
        self.cases[command.name, kind] += 1
        self.hits[command.name, kind] += hit
        self.failures += [f"{command.name}, {kind}: {what}" for what in wrong]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the cases run.

    Attributes
    ----------
    work
        Folder for everything.
    temporary
        Folder for temporary files, on another file system if there is one.
    tally
        What was found.
    """

    work: Path
    temporary: Path
    tally: Tally

    def start(self, command: Command, folder: Path) -> Process:
        """Run a command in a fork of this process."""
        log = Path(tempfile.mkstemp(prefix="log-", dir=self.work)[1])
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return Process(pid, log)
        code = 70
        try:
            code = _run_here(command.line(folder), log, self.temporary)
        finally:
            os._exit(code)

    def folder(self) -> Path:
        """Return a new empty folder for an output."""
        return Path(tempfile.mkdtemp(prefix="case-", dir=self.work))

    def undisturbed(self, command: Command) -> tuple[dict[str, bytes], float]:
        """Return the files of a command that nobody disturbs, and its time in s."""
        found = []
        for _ in range(2):
            folder, started = self.folder(), time.monotonic()
            process = self.start(command, folder)
            if process.wait() != 0:
                raise click.ClickException(f"{command.name} fails: {process.text}")
            found.append(contents(folder))
            duration_s = time.monotonic() - started
        if different := differences(*found):
            raise click.ClickException(f"{command.name} varies: {different}")
        return found[0], duration_s

    def check(
        self, command: Command, folder: Path, expected: dict[str, bytes]
    ) -> list[str]:
        """Give a command again, and return what is wrong then."""
        output = folder / command.output
        record = working_folder(output) / MANIFEST_FILE
        was_complete = output.exists() and not record.exists()
        process = self.start(command, folder)
        if process.wait() and not (was_complete and REFUSED.fullmatch(process.text)):
            return [f"the rerun ended with {process.code}: {process.text[-500:]}"]
        wrong = differences(contents(folder), expected)
        left = [path.name for path in self.temporary.iterdir()]
        wrong += [f"{name} is left among temporary files" for name in left]
        shutil.rmtree(folder)
        return wrong

    def kill(
        self,
        command: Command,
        expected: dict[str, bytes],
        moment: Callable[[Path], bool],
        *,
        kind: str,
        tree: bool,
    ) -> None:
        """Kill a command at a moment, and see whether it goes on."""
        folder = self.folder()
        process = self.start(command, folder)
        while process.running() and not moment(folder):
            time.sleep(POLL_S)
        hit = process.running()
        if hit:
            process.kill(tree=tree)
        process.wait()
        wrong = [f"process {orphan} is an orphan" for orphan in orphans(process.pid)]
        wrong += self.check(command, folder, expected)
        self.tally.add(command, kind, hit=hit, wrong=wrong)

    def two_at_once(
        self,
        command: Command,
        expected: dict[str, bytes],
        moment: Callable[[Path], bool],
    ) -> None:
        """Start a command a second time while it runs: one of them must win."""
        folder = self.folder()
        first = self.start(command, folder)
        while first.running() and not moment(folder):
            time.sleep(POLL_S)
        hit = first.running()
        both = [first, self.start(command, folder)]
        refused = [process for process in both if process.wait()]
        wrong = [
            f"the one refused says: {process.text[-500:]}"
            for process in refused
            if not REFUSED.fullmatch(process.text)
        ]
        if len(refused) == len(both):
            wrong.append("both were refused")
        wrong += self.check(command, folder, expected)
        self.tally.add(command, "two at once", hit=hit, wrong=wrong)

    def full_disk(
        self, command: Command, expected: dict[str, bytes], levels: int
    ) -> None:
        """Run a command on a disk with several levels of free space."""
        needed = None
        for level in range(levels + 1):
            with small_disk(self.work / "disk") as disk:
                filler, folder = disk / "filler", disk / "case"
                folder.mkdir()
                if needed is None:  # the first time there is room
                    needed = self._peak(command, folder)
                    continue
                share = (level - 0.5) / levels
                keep_free(disk, filler, bytes_free=int(share * needed))
                process = self.start(command, folder)
                hit = process.wait() != 0
                wrong = []
                if hit and not NO_ROOM.fullmatch(process.text.splitlines()[-1]):
                    wrong.append(f"at {share:.0%} it says: {process.text[-800:]}")
                filler.unlink()
                wrong += self.check(command, folder, expected)
            self.tally.add(command, "full disk", hit=hit, wrong=wrong)

    def _peak(self, command: Command, folder: Path) -> int:
        """Return the most bytes that a command needs while it runs."""
        start, least = free_bytes(folder), free_bytes(folder)
        process = self.start(command, folder)
        while process.running():
            least = min(least, free_bytes(folder))
            time.sleep(POLL_S)
        return start - least


def _run_here(words: Sequence[str], log: Path, temporary: Path) -> int:
    """Run a command in this process, a fresh fork, and return its exit code."""
    from synthzoo.cli import main

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("w") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    try:
        main(list(words))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
    return 0


def orphans(group: int) -> list[int]:
    """Return the processes of a group that are still there a while after a kill."""
    end = time.monotonic() + 5
    while found := list(_members(group)):
        if time.monotonic() > end:
            break
        time.sleep(POLL_S)
    return found


def _members(group: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                yield int(path.parent.name)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder as far as they must be the same after any kill.

    Of states of a fit, which count how often it was started, only the names; wall
    times are left out.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = b""
        elif path.suffix == ".ckpt":
            found[name] = b"a state"
        elif path.suffix in {".json", ".md", ".html"}:
            found[name] = _without_times(path).encode()
        else:
            found[name] = path.read_bytes()
    return found


def _without_times(path: Path) -> str:
    text = path.read_text()
    if path.suffix != ".json":
        return TIMES.sub("TIME", text)
    return json.dumps(_timeless(json.loads(text)))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key != "seconds"}
    return list(map(_timeless, value)) if isinstance(value, list) else value


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Return in words how the files of two runs differ."""
    names = sorted(found.keys() ^ expected.keys())
    wrong = [f"{name} is {'left' if name in found else 'missing'}" for name in names]
    both = found.keys() & expected.keys()
    return wrong + [
        f"{name} has other bytes" for name in both if found[name] != expected[name]
    ]


def matches(patterns: Sequence[str]) -> Callable[[Path], bool]:
    """Return whether files are there, and others are not: see `Command.moments`."""

    def look(folder: Path) -> bool:
        try:
            return all(
                any(folder.glob(pattern.removeprefix("!"))) != pattern.startswith("!")
                for pattern in patterns
            )
        except OSError:  # a folder went away meanwhile
            return False

    return look


def after(seconds: float) -> Callable[[Path], bool]:
    """Return whether so much time has passed since the first call."""
    begun: list[float] = []

    def look(_: Path) -> bool:
        begun.append(time.monotonic())
        return begun[-1] - begun[0] >= seconds

    return look


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a disk of 64 MiB in memory.

    Raises
    ------
    PermissionError
        If this user may not.
    """
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S607


def keep_free(disk: Path, filler: Path, *, bytes_free: int) -> None:
    """Fill a disk but for so many bytes."""
    with filler.open("wb") as stream:
        stream.truncate(0)
        os.posix_fallocate(stream.fileno(), 0, free_bytes(disk) - bytes_free)


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def make_commands(bench: Bench) -> dict[str, Command]:
    """Write the inputs, and return the commands by name; each feeds a later one."""
    from synthzoo.data.structures import read_structures, write_structures

    work = bench.work
    for name, values in RECIPES.items():
        (work / f"{name}.yaml").write_text(yaml.safe_dump({name: values}))
    made, labelled, start = work / "made", work / "labelled", work / "start"
    commands = {
        "generate": Command(
            name="generate",
            arguments=(f"{work}/generate.yaml", "--driver", TEACHER, "--workers", "1"),
            output="out.xyz",
            moments=SET_MOMENTS | {"joining": ("out.xyz.parts/*all.xyz*",)},
        ),
        "relabel": Command(
            name="relabel",
            arguments=(
                f"{made}/out.xyz",
                "--teacher",
                TEACHER,
                "--recipe",
                f"{work}/relabel.yaml",
                "--workers",
                "1",
            ),
            output="out.xyz",
            moments=SET_MOMENTS | {"joining": ("out.xyz.parts/*labelled.xyz*",)},
        ),
        "pretrain": Command(
            name="pretrain",
            arguments=(f"{work}/pretrain.yaml", "--data", f"{labelled}/out.xyz"),
            output="model",
            moments=FIT_MOMENTS
            | {
                "best state": ("model.parts/.best.ckpt.part-*",),
                "checkpoint": ("model.parts/.checkpoint.part-*",),
                "curves": ("model.parts/checkpoint", "!model"),
                "last second": ("model",),
            },
        ),
        "finetune": Command(
            name="finetune",
            arguments=(
                f"{start}/model",
                f"{labelled}/out.xyz",
                "--recipe",
                f"{work}/finetune.yaml",
                "--workers",
                "1",
            ),
            output="model",
            moments=FIT_MOMENTS
            | {
                "weights": ("model.parts/*/.weights.safetensors.part-*",),
                "report": ("model.parts/checkpoint", "!model"),
                "last second": ("model",),
                "tidying up": ("model", "model.parts", "!model.parts/fit"),
            },
        ),
        "md": Command(
            name="md",
            arguments=(
                TEACHER,
                f"{work}/start.xyz",
                "--protocol",
                f"{work}/md.yaml",
                "--replicas",
                "2",
                "--workers",
                "1",
            ),
            output="out",
            moments={
                "scans": (
                    "out.parts/made/*/scans.json",
                    "!out.parts/made/*/*/state.npz",
                ),
                "state": ("out.parts/made/*/*/.state.npz.part-*",),
                "verdict": ("out.parts/made/verdict.json", "!out"),
                "report": ("out.parts/made/report.md", "!out"),
                "last second": ("out",),
            },
        ),
    }
    (work / "relabel.yaml").write_text(
        yaml.safe_dump({"relabel": {"teacher": TEACHER, "chunk_structures": 2}})
    )
    for name, folder in (
        ("generate", made),
        ("relabel", labelled),
        ("pretrain", start),
    ):
        folder.mkdir()
        process = bench.start(commands[name], folder)
        if process.wait():
            raise click.ClickException(f"{name} fails: {process.text}")
    first = read_structures(made / "out.xyz")[-1]
    write_structures(work / "start.xyz", [first])
    return commands


SET_MOMENTS = {
    "output in place": ("out.xyz",),
    "summary": ("out.xyz.parts/*out.summary*",),
    "last second": ("out.summary.json",),
    "tidying up": ("out.xyz", "out.xyz.parts", "!out.xyz.parts/0000000"),
}
FIT_MOMENTS = {
    "state": ("model.parts/**/.last.ckpt.part-*",),
    "between two states": (
        "model.parts/**/before-last.ckpt",
        "!model.parts/**/last.ckpt",
    ),
    "errors": ("model.parts/**/.errors.csv.part-*",),
}
"""Moments by their names: see `Command.moments`."""


def try_command(
    bench: Bench, command: Command, *, kills: int, levels: int, draw: random.Random
) -> None:
    """Disturb a command in all ways."""
    expected, duration_s = bench.undisturbed(command)
    aimed = list(command.moments.items())
    for number in range(kills):
        if number % 2:
            name, patterns = aimed[(number // 2) % len(aimed)]
            moment, kind = matches(patterns), f"aimed: {name}"
        else:
            moment, kind = after(draw.uniform(0, 1.02) * duration_s), "random"
        tree = draw.random() < 0.5
        bench.kill(command, expected, moment, kind=kind, tree=tree)
    for moment in (
        after(0),
        after(draw.uniform(0, 1) * duration_s),
        *(matches(patterns) for _, patterns in aimed[-2:]),
    ):
        bench.two_at_once(command, expected, moment)
    try:
        bench.full_disk(command, expected, levels)
    except PermissionError as error:
        click.echo(f"No full disks: nothing can be mounted here ({error}).", err=True)


def import_everything() -> None:
    """Load what the commands load, so that their forks need not."""
    import synthzoo.evaluation.evaluate
    import synthzoo.finetuning.run
    import synthzoo.finetuning.snapshots  # noqa: F401


@click.command(help=__doc__.partition("\n")[0])
@click.argument("names", nargs=-1)
@click.option("--kills", default=20, show_default=True, help="Of each command.")
@click.option("--levels", default=10, show_default=True, help="Of free disk space.")
@click.option("--seed", default=1, show_default=True, help="Of the random moments.")
def main(names: tuple[str, ...], kills: int, levels: int, seed: int) -> None:
    """Run all cases and print the table."""
    import_everything()
    shared = Path("/dev/shm")  # noqa: S108  that it is shared does no harm here
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as work,
        tempfile.TemporaryDirectory(
            prefix="kills-", dir=shared if shared.is_dir() else None
        ) as temporary,
    ):
        bench = Bench(work=Path(work), temporary=Path(temporary), tally=Tally())
        commands = make_commands(bench)
        for name in names or commands:
            started, draw = time.monotonic(), random.Random(seed)  # noqa: S311
            try_command(bench, commands[name], kills=kills, levels=levels, draw=draw)
            click.echo(f"{name}: {time.monotonic() - started:.0f} s", err=True)
    report(bench.tally)


def report(tally: Tally) -> None:
    """Print how many cases there were, and those that failed."""
    click.echo("| command | case | cases | disturbed |")
    click.echo("| --- | --- | --- | --- |")
    for (name, kind), count in tally.cases.items():
        click.echo(f"| {name} | {kind} | {count} | {tally.hits[name, kind]} |")
    for failure in tally.failures:
        click.echo(f"FAILED {failure}")
    click.echo(f"{tally.cases.total()} cases, {len(tally.failures)} faults.")
    if tally.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
