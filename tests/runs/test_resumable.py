"""Runs of many jobs: order, resumption, and what is refused."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from tqdm import tqdm

from synthzoo.errors import InputError, InterruptedRunError, SynthzooError
from synthzoo.runs.files import (
    DISK_FULL,
    NO_ACCESS,
    new_file,
    new_folder,
    new_output,
    new_output_folder,
    sole_writer,
)
from synthzoo.runs.resumable import (
    join,
    open_run,
    read_results,
    run_in_folders,
    working_folder,
)
from synthzoo.runs.workers import call_guarded, worker_threads


def write_number(job: int, folder: Path) -> None:
    (folder / "number.txt").write_text(f"{job}\n")
    (folder / "number.json").write_text(json.dumps({"number": job}))


def fail_at_three(job: int, folder: Path) -> None:
    write_number(job, folder)
    if job == 3:
        raise ValueError("three")


def die_at_three(job: int, folder: Path) -> None:
    write_number(job, folder)
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def run(function, jobs, output: Path, executor) -> int:
    with open_run(output, {"jobs": "numbers"}) as opened, tqdm(disable=True) as bar:
        return run_in_folders(
            function, jobs, opened.folder, executor=executor, progress=bar
        )


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_results_are_joined_in_the_order_of_the_jobs(tmp_path: Path, threads):
    """The order in which workers end does not matter."""
    output = tmp_path / "out.txt"
    count = run(write_number, range(12), output, threads)
    folder = working_folder(output)
    join(folder, count, "number.txt", output)
    assert output.read_text().split() == [str(number) for number in range(12)]
    found = [result["number"] for result in read_results(folder, count, "number.json")]
    assert found == list(range(12))


def test_finished_jobs_are_not_run_again(tmp_path: Path, threads):
    """After a failure, only what is missing is done."""
    output = tmp_path / "out.txt"
    with pytest.raises(ValueError, match="three"):
        run(fail_at_three, range(5), output, threads)
    folder = working_folder(output)
    marked = folder / "0000000" / "number.txt"
    marked.write_text("kept\n")
    count = run(write_number, range(5), output, threads)
    join(folder, count, "number.txt", output)
    assert output.read_text().split() == ["kept", "1", "2", "3", "4"]


def test_a_killed_worker_is_reported_and_the_rest_is_kept(tmp_path: Path):
    """Death by signal ends in one clear error; no half-written job counts."""
    output = tmp_path / "out.txt"
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as pool,
        pytest.raises(SynthzooError, match="What is finished is kept; run the same"),
    ):
        run(die_at_three, range(5), output, pool)
    finished = sorted(path.name for path in working_folder(output).glob("???????"))
    assert finished == ["0000000", "0000001", "0000002"]


def test_an_existing_output_is_refused(tmp_path: Path):
    """Nothing of the user's is overwritten."""
    output = tmp_path / "out.txt"
    output.write_text("mine")
    with pytest.raises(InputError, match="exists; remove it"), open_run(output, {}):
        pass
    assert output.read_text() == "mine"


def test_a_run_with_other_inputs_is_refused(tmp_path: Path):
    """What changed is named, with the way to start anew."""
    output = tmp_path / "out.txt"
    with open_run(output, {"recipe": 1, "input": "a"}) as opened:
        (opened.folder / "0000000").mkdir()
    with (
        pytest.raises(InputError, match=r"with another input. Remove that folder"),
        open_run(output, {"recipe": 1, "input": "b"}),
    ):
        pass
    assert (opened.folder / "0000000").is_dir()


def test_a_missing_folder_is_named(tmp_path: Path):
    """The place to write to must be there."""
    with (
        pytest.raises(InputError, match="There is no folder"),
        open_run(tmp_path / "nowhere" / "out.txt", {}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_beside_an_output_are_kept(tmp_path: Path):
    """What an earlier run wrote beside its output is not overwritten, either."""
    output, beside = tmp_path / "out.txt", tmp_path / "out.failed.txt"
    beside.write_text("mine")
    with (
        pytest.raises(
            InputError, match=r"out\.failed\.txt exists, from an earlier run"
        ),
        open_run(output, {}, beside=[beside]),
    ):
        pass
    assert list(tmp_path.iterdir()) == [beside]


def test_a_run_killed_while_it_cleans_up_is_complete(tmp_path: Path):
    """The output is there; the same run finds its summary, another run does not."""
    output = tmp_path / "out.txt"
    with open_run(output, {"input": "a"}) as first:
        first.complete({"left": 2, "count": 3})
        assert first.finished is None
    with open_run(output, {"input": "a"}) as second:
        assert second.finished is None
        join(second.folder, 0, "number.txt", output)
    with open_run(output, {"input": "a"}) as third:
        assert list((third.finished or {}).items()) == [("left", 2), ("count", 3)]
    with pytest.raises(InputError, match="exists"), open_run(output, {"input": "b"}):
        pass
    (first.folder / "0000000").mkdir()
    third.close()
    assert list(tmp_path.iterdir()) == [output]
    with pytest.raises(InputError, match="exists"), open_run(output, {"input": "a"}):
        pass


def test_a_kill_in_the_last_moment_of_tidying_up_leaves_nothing(tmp_path: Path):
    """The working folder is empty, and the lock's file still there."""
    output = tmp_path / "out.txt"
    output.touch()
    working_folder(output).mkdir()
    (tmp_path / ".out.txt.lock").touch()
    with pytest.raises(InputError, match="exists"), open_run(output, {"input": "a"}):
        pass
    assert list(tmp_path.iterdir()) == [output]


def test_a_run_without_results_leaves_nothing(tmp_path: Path):
    """Refused or interrupted before the first result, it is not in anyone's way."""
    output = tmp_path / "out.txt"
    for error in (InputError, KeyboardInterrupt):
        with pytest.raises(error), open_run(output, {"input": "mistyped"}):
            raise error
        assert list(tmp_path.iterdir()) == []


def test_a_killed_run_without_results_does_not_block_a_corrected_one(tmp_path: Path):
    """What a killed run leaves before its first result is replaced."""
    output = tmp_path / "out.txt"
    with open_run(output, {"input": "mistyped"}) as killed:
        (killed.folder / ".0000000.part-0123456789ab").mkdir()
    with open_run(output, {"input": "right"}) as corrected:
        assert [path.name for path in corrected.folder.iterdir()] == ["manifest.json"]


def test_a_folder_of_the_users_is_not_taken_for_ours(tmp_path: Path):
    """A folder of the same name is neither filled nor removed."""
    (tmp_path / "out.txt.parts").mkdir()
    mine = tmp_path / "out.txt.parts" / "thesis.tex"
    mine.write_text("years of work")
    with (
        pytest.raises(InputError, match="holds other files; move it"),
        open_run(tmp_path / "out.txt", {}),
    ):
        pass
    assert mine.read_text() == "years of work"


def test_two_runs_do_not_share_an_output(tmp_path: Path):
    """The same command given twice at a time is refused, and goes on later."""
    output = tmp_path / "out.txt"
    with (
        open_run(output, {}),
        pytest.raises(SynthzooError, match=r"Another run is writing to .*out\.txt;"),
        open_run(output, {}),
    ):
        pass
    with open_run(output, {}) as opened:
        opened.complete({})
        output.touch()
        with (
            pytest.raises(SynthzooError, match="Another run is writing"),
            open_run(output, {}),
        ):
            pass
        opened.close()
    assert list(tmp_path.iterdir()) == [output]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path):
    """The system gives it back, whatever the process left behind."""
    output = tmp_path / "out.txt"
    ready, code = tmp_path / "ready", "import sys, time; from pathlib import Path; "
    code += "from synthzoo.runs.files import new_output; output = Path(sys.argv[1])\n"
    code += "with new_output(output):\n Path(sys.argv[2]).touch(); time.sleep(1000)"
    process = subprocess.Popen([sys.executable, "-c", code, str(output), str(ready)])
    while not ready.exists():
        time.sleep(0.01)
    with pytest.raises(SynthzooError, match="Another run"), new_output(output):
        pass
    (tmp_path / ".out.txt.part-0123456789ab").touch()
    (tmp_path / ".out.txt.part-0123456789ac").mkdir()
    process.kill()
    process.wait()
    ready.unlink()
    with new_output(output):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch):
    """Some network file systems answer that they have none."""
    fcntl = pytest.importorskip("fcntl")

    def answer(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", answer)
    with sole_writer(tmp_path / "out.txt"):
        (tmp_path / "out.txt").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path):
    """Once something is finished; it stays a `KeyboardInterrupt` for a program."""

    def interrupted() -> None:
        with open_run(tmp_path / "out.txt", {}) as opened:
            (opened.folder / "0000000").mkdir()
            raise KeyboardInterrupt

    wanted = "What is finished is kept; run the same command again to go on"
    with pytest.raises(InterruptedRunError, match=wanted):
        interrupted()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (DISK_FULL, "to go on when there is room to write"),
        (NO_ACCESS, "to go on when that can be written"),
    ],
    ids=["full", "no access"],
)
def test_a_fault_of_the_disk_names_the_file_and_the_way_on(
    codes, message: str, tmp_path: Path
):
    """Python's own error on writing has no file name."""

    def fail(code: int) -> None:
        with open_run(tmp_path / f"{code}.txt", {}) as opened:
            (opened.folder / "0000000").mkdir()
            with new_folder(opened.folder / "0000001"):
                raise OSError(code, os.strerror(code))

    for code in codes:
        with pytest.raises(SynthzooError, match=rf"0000001'\. .*{message}\."):
            fail(code)


def test_a_fault_of_an_input_keeps_its_name(tmp_path: Path):
    """Only what is being written gets the name of the output."""
    fault = PermissionError(errno.EACCES, "Permission denied", "in.xyz")
    with (
        pytest.raises(PermissionError, match=r"in\.xyz"),
        new_file(tmp_path / "out.txt"),
    ):
        raise fault


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path):
    """Two processes make it; the second is told."""
    (tmp_path / "out").mkdir()

    def make() -> None:
        with new_output_folder(tmp_path / "out") as partial:
            (partial / "second").touch()
            (tmp_path / "out" / "first").touch()

    with pytest.raises(InputError, match="exists and is not empty"):
        make()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "first"]


def test_workers_must_see_the_folder(tmp_path: Path, threads):
    """Without a shared file system results would be lost; the user is told."""
    folder = tmp_path / "out.txt.parts"
    folder.mkdir()
    with (
        tqdm(disable=True) as bar,
        pytest.raises(SynthzooError, match=r"does not see .*out\.txt\.parts"),
    ):
        run_in_folders(write_number, range(3), folder, executor=threads, progress=bar)


def do_at_once(job: int, folder: Path) -> None:
    """Do the job, after another worker that was given the same has done it."""
    write_number(job, folder)
    target = folder.with_name(folder.name.split(".")[1])
    target.mkdir()
    write_number(100 + job, target)


def test_a_job_that_two_workers_did_counts_once(tmp_path: Path, threads):
    """A cluster gives a job to another worker if the first seems to be lost."""
    output = tmp_path / "out.txt"
    count = run(do_at_once, range(4), output, threads)
    folder = working_folder(output)
    join(folder, count, "number.txt", output)
    assert output.read_text().split() == ["100", "101", "102", "103"]
    assert sorted(path.name for path in folder.glob("*.part*")) == []


def sleep_guarded(job: int, folder: Path) -> None:
    call_guarded(partial(time.sleep, 1000 if job else 0), limit_s=None)


def test_an_error_does_not_wait_for_the_other_jobs(tmp_path: Path):
    """Ctrl-C, or a fault of one job, ends what the others compute."""

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with (
        pytest.raises(InterruptedRunError),
        open_run(tmp_path / "out.txt", {}) as opened,
        worker_threads(2) as pool,
        tqdm(disable=True) as bar,
    ):
        run_in_folders(
            sleep_guarded,
            range(3),
            opened.folder,
            executor=pool,
            progress=bar,
            on_done=stop,
        )
    assert time.monotonic() - start < 60
