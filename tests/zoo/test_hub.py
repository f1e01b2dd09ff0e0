"""Where checkpoints come from and go to; the real client against a hub on loopback."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file

from synthzoo.errors import (
    CheckpointError,
    HubError,
    InputError,
    IntegrityError,
    UnknownModelError,
)
from synthzoo.models.checkpoint import verify_checkpoint
from synthzoo.models.config import (
    CARD_FILE,
    CONFIG_FILE,
    GOLDEN_FILE,
    MODEL_FILES,
    WEIGHTS_FILE,
)
from synthzoo.runs.files import hash_files
from synthzoo.zoo import find, registry
from synthzoo.zoo.cards import render_card
from synthzoo.zoo.publish import publish
from tests.conftest import mixed, write_tiny_checkpoint
from tests.example_card import example_head, write_card
from tests.hub_server import (
    READ_TOKEN,
    WEB_PAGE,
    WRITE_TOKEN,
    FakeHub,
    Fault,
    running_hub,
    sha256,
)

if TYPE_CHECKING:
    from synthzoo.zoo.cards import ModelCard

pytestmark = pytest.mark.filterwarnings(
    # huggingface_hub 2.4 uploads large files by a way that its HTTP library deprecates
    "ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning"
)

REPOSITORY = "zoo/tiny-carbon"
ANYTHING = r"."


@pytest.fixture
def server() -> Iterator[FakeHub]:
    """Run a hub of its own for a test."""
    with running_hub() as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let nobody really wait; return the pauses that were asked for."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


@pytest.fixture
def cache(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Point the client in this process at the hub and at an empty cache."""
    from huggingface_hub import close_session, constants

    folder = tmp_path / "home" / "hub"
    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield folder
    close_session()


@pytest.fixture
def files(tiny_checkpoint: Path) -> dict[str, bytes]:
    """Return the contents of a real checkpoint."""
    return {name: (tiny_checkpoint / name).read_bytes() for name in MODEL_FILES}


@dataclass
class Zoo:
    """An installation of its own, with cards and bundled weights."""

    package: Path

    def add(
        self, files: dict[str, bytes], *, revision: str | None = None, **changes: Any
    ) -> ModelCard:
        """Write the card of a model and return it."""
        records = {
            name: {"size": len(content), "sha256": sha256(content)}
            for name, content in files.items()
        }
        repository = REPOSITORY if revision else None
        place = {"repository": repository, "revision": revision}
        head = example_head(files=records, hub=place, **changes)
        write_card(self.package / "model_cards", head)
        registry._installed_cards.cache_clear()
        return registry.find_card(head["synthzoo"]["name"])

    def bundle(self, card: ModelCard, files: dict[str, bytes]) -> Path:
        """Put weights into the package."""
        folder = self.package / "weights" / card.name
        write_files(folder, files)
        return folder


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zoo]:
    """Replace the installed register by an empty one."""
    package = tmp_path / "site" / "synthzoo"
    (package / "model_cards").mkdir(parents=True)
    monkeypatch.setattr(registry, "__file__", str(package / "registry.py"))
    registry._installed_cards.cache_clear()
    yield Zoo(package)
    registry._installed_cards.cache_clear()


@pytest.fixture
def on_hub(
    server: FakeHub, cache: Path, zoo: Zoo, files: dict[str, bytes]
) -> ModelCard:
    """Publish a model whose weights are not bundled, among files that are not ours."""
    others = {CARD_FILE: b"# The hub's own page\n", "setup.py": b"raise SystemExit\n"}
    return zoo.add(files, revision=server.add(REPOSITORY, files | others))


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def flipped(content: bytes) -> bytes:
    """Return the content with one bit changed."""
    return content[:-1] + bytes([content[-1] ^ 1])


def leftovers(folder: Path) -> list[Path]:
    """Return what a broken transfer has left."""
    return [*folder.rglob("*.incomplete"), *folder.rglob("*.part*")]


# References


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_taken_as_it_is(tiny_checkpoint: Path, kind: type):
    """A path, as text or not, needs no register."""
    assert find.find_folder(kind(tiny_checkpoint)) == tiny_checkpoint


def test_a_folder_comes_before_a_name(
    zoo: Zoo, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    """A checkpoint in the current folder hides a model of the same name."""
    zoo.bundle(zoo.add(files), files)
    monkeypatch.chdir(zoo.package.parent)
    write_files(Path("tiny"), files)
    assert find.find_folder("tiny") == Path("tiny")


def test_a_folder_that_is_no_checkpoint_does_not_hide_a_name(
    zoo: Zoo, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    """A user's folder of results called like a model is left alone."""
    bundled = zoo.bundle(zoo.add(files), files)
    monkeypatch.chdir(zoo.package.parent)
    Path("tiny").mkdir()
    assert find.find_folder("tiny") == bundled


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("./nowhere", CheckpointError, r"^There is no folder nowhere\.$"),
        ("zoo/tiny", CheckpointError, r"For a repository of the hub write hf:zoo/tiny"),
        (Path("tiny"), CheckpointError, r"There is no folder tiny"),
        ("hf:tiny", InputError, r"Expected hf:organisation/name.*found 'hf:tiny'"),
        ("hf:a/b@../../c", InputError, r"Expected hf:organisation/name"),
        ("hf:a/b@v/../../c", InputError, r"Expected hf:organisation/name"),
        ("hf:a/b@", InputError, r"Expected hf:organisation/name"),
        ("tinny", UnknownModelError, r"Did you mean 'tiny'\?"),
    ],
)
def test_a_reference_to_nothing_is_one_clear_error(
    zoo: Zoo,
    files: dict[str, bytes],
    reference: str | Path,
    error: type[Exception],
    message: str,
):
    """Folder, name and repository each have their own message."""
    zoo.add(files)
    with pytest.raises(error, match=message):
        find.find_folder(reference)


# Bundled


def test_a_bundled_model_needs_no_hub(
    server: FakeHub, cache: Path, zoo: Zoo, files: dict[str, bytes]
):
    """Even a published model comes from the package if it is there."""
    card = zoo.add(files, revision=server.add(REPOSITORY, files))
    bundled = zoo.bundle(card, files)
    assert find.location(card) == "bundled"
    assert find.find_folder("tiny") == find.fetch("tiny-carbon") == bundled
    assert find.find_folder(f"hf:{REPOSITORY}@{card.hub.revision}") == bundled
    assert server.requests == []


def test_damaged_bundled_weights_are_refused(zoo: Zoo, files: dict[str, bytes]):
    """Both hashes and the way out are named."""
    folder = zoo.bundle(zoo.add(files), files)
    wrong = flipped(files[WEIGHTS_FILE])
    (folder / WEIGHTS_FILE).write_bytes(wrong)
    with pytest.raises(IntegrityError) as caught:
        find.find_folder("tiny")
    message = str(caught.value)
    assert str(folder / WEIGHTS_FILE) in message
    assert sha256(files[WEIGHTS_FILE]) in message
    assert sha256(wrong) in message
    assert message.endswith("pip install --force-reinstall synthzoo")


def test_a_missing_bundled_file_is_refused(zoo: Zoo, files: dict[str, bytes]):
    """A half installed package is not taken for a checkpoint."""
    folder = zoo.bundle(zoo.add(files), files)
    (folder / GOLDEN_FILE).unlink()
    with pytest.raises(IntegrityError, match=r"golden.*cannot be read \(No such file"):
        find.find_folder("tiny")


def test_a_model_that_is_nowhere_says_so(zoo: Zoo, files: dict[str, bytes]):
    """A card without weights and without repository cannot be loaded."""
    card = zoo.add(files)
    assert find.location(card) == "missing"
    with pytest.raises(HubError, match=r"tiny-carbon is not published yet"):
        find.find_folder("tiny")


# Cache and network


def test_a_model_is_downloaded_once(on_hub: ModelCard, server: FakeHub):
    """The second time, and every time after, nothing touches the network."""
    assert find.location(on_hub) == "hub"
    folder = find.find_folder("tiny")
    assert find.location(on_hub) == "cached"
    count = len(server.requests)
    assert count > 0
    assert find.find_folder("tiny") == find.fetch("tiny-carbon") == folder
    assert find.fetch_all() == (folder,)
    assert len(server.requests) == count


def test_only_the_files_of_a_checkpoint_are_downloaded(
    on_hub: ModelCard, server: FakeHub
):
    """Code and other files of a repository are never asked for."""
    folder = find.find_folder("tiny")
    assert {path.name for path in folder.iterdir()} == {*MODEL_FILES, CARD_FILE}
    assert not any("setup.py" in request for request in server.requests)


def test_a_repository_of_the_register_is_taken_at_its_pinned_commit(
    on_hub: ModelCard, server: FakeHub
):
    """What the branch points to now has not been checked by anyone."""
    server.repositories[REPOSITORY].commit({WEIGHTS_FILE: b"newer"})
    folder = find.find_folder(f"hf:{REPOSITORY}")
    assert folder.name == on_hub.hub.revision
    assert find.find_folder(f"hf:{REPOSITORY}@{folder.name}") == folder


def test_an_unregistered_repository_is_found_and_stays(
    server: FakeHub, cache: Path, zoo: Zoo, files: dict[str, bytes]
):
    """A branch in the cache is used as it is; only `fetch` asks for news."""
    first = server.add(REPOSITORY, files)
    reference = f"hf:{REPOSITORY}@main"
    assert find.find_folder(reference).name == first
    second = server.repositories[REPOSITORY].commit({CARD_FILE: b"# New\n"})
    assert find.find_folder(reference).name == first
    assert find.fetch(reference).name == second
    assert find.find_folder(reference).name == second


def test_a_branch_that_moves_during_the_download_is_noticed(
    server: FakeHub, cache: Path, zoo: Zoo, files: dict[str, bytes]
):
    """Files of two commits are never mixed."""
    server.add(REPOSITORY, files)
    repository = server.repositories[REPOSITORY]

    def move(body: bytes) -> bytes:
        repository.commit({CARD_FILE: b"# New\n"})
        return body

    server.faults.append(Fault(r"GET /api/models", change=move))
    with pytest.raises(HubError, match="changed while it was being downloaded"):
        find.find_folder(f"hf:{REPOSITORY}")


def test_the_token_reaches_the_hub_but_not_the_storage(
    on_hub: ModelCard, server: FakeHub, monkeypatch: pytest.MonkeyPatch
):
    """A private repository is read with HF_TOKEN, which other hosts never see."""
    server.repositories[REPOSITORY].private = True
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    find.find_folder("tiny")
    seen = server.tokens_seen
    assert seen[f"GET /api/models/{REPOSITORY}/revision/{on_hub.hub.revision}"]
    storage = [seen[request] for request in seen if "/storage/" in request]
    assert storage == [None, None]


def test_offline_a_cached_model_is_used_and_another_is_refused(
    on_hub: ModelCard, server: FakeHub, monkeypatch: pytest.MonkeyPatch
):
    """HF_HUB_OFFLINE and `offline` mean the same: no request is made."""
    with pytest.raises(HubError, match=r"not in the Hugging Face cache.*fetch tiny-"):
        find.find_folder("tiny", offline=True)
    assert server.requests == []
    folder = find.find_folder("tiny")
    count = len(server.requests)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find.find_folder("tiny") == find.fetch("tiny") == folder
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE.*fetch hf:zoo/other@main"):
        find.fetch("hf:zoo/other")
    assert len(server.requests) == count


# Faults


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            Fault(ANYTHING, status=401, error_message="Invalid username or password."),
            "answered 401 Unauthorized for zoo/tiny-carbon: the repository does not "
            "exist or is private, or the token is not valid. Log in with `hf auth",
        ),
        (
            Fault(ANYTHING, status=403, error_message="Your organisation is blocked"),
            "answered 403 Forbidden for zoo/tiny-carbon: Your organisation is blocked",
        ),
        (
            Fault(r"HEAD .*/resolve/", status=403, error_code="GatedRepo"),
            "zoo/tiny-carbon is gated: ask for access on http",
        ),
        (
            Fault(ANYTHING, status=404, error_code="RepoNotFound"),
            "There is no repository zoo/tiny-carbon on http",
        ),
        (
            Fault(ANYTHING, status=404, error_code="RevisionNotFound"),
            "has no branch, tag or commit '",
        ),
        (
            Fault(r"HEAD .*/model", status=404, error_code="EntryNotFound"),
            "has no file model.safetensors: it is not a synthzoo checkpoint.",
        ),
        (
            Fault(r"GET /api", status=503),
            "answered 503 Service Unavailable for zoo/tiny-carbon, several times. Try",
        ),
        (
            Fault(r"HEAD .*/resolve/", status=500),
            "answered 500 Internal Server Error for zoo/tiny-carbon, several times.",
        ),
        (Fault(r"GET /api", status=418), "answered 418 I'm a Teapot for zoo/tiny"),
        (Fault(r"GET /api", page=True), "did not answer like a Hugging Face hub"),
        (Fault(r"HEAD ", page=True), "did not answer like a Hugging Face hub"),
        (
            Fault(r"GET /storage", page=True),
            "arrived with another size than http",
        ),
        (
            Fault(r"GET .*/config", change=lambda body: body[:100]),
            "cut short, or a web page instead of the file. Try again; nothing was kept",
        ),
        (
            Fault(r"GET /storage", break_off=True),
            "broke off in the middle of a file of zoo/tiny-carbon, several times.",
        ),
    ],
)
def test_a_fault_of_the_hub_is_one_clear_error(
    on_hub: ModelCard, server: FakeHub, cache: Path, fault: Fault, message: str
):
    """The user reads what happened and what to do; nothing half-written stays."""
    server.faults.append(fault)
    with pytest.raises(HubError) as caught:
        find.find_folder("tiny")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(cache) == []
    assert find.location(on_hub) == "hub"


def test_a_hub_that_cannot_be_reached_is_named(
    on_hub: ModelCard, waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    """The address and what can be checked are in the message, and it comes at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    with pytest.raises(HubError) as caught:
        find.find_folder("tiny")
    assert str(caught.value).startswith(f"Cannot reach {address} for {REPOSITORY} (")
    assert "HF_ENDPOINT" in str(caught.value)
    assert waits == []


@pytest.mark.parametrize("request_that_stalls", [r"GET /api", r"HEAD ", r"GET .*/con"])
def test_a_hub_that_says_nothing_is_not_waited_for_forever(
    on_hub: ModelCard,
    server: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    request_that_stalls: str,
):
    """Every request of a download has a time limit."""
    monkeypatch.setattr("synthzoo.zoo.download.TIMEOUT_S", 0.1)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.1)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.1)
    server.faults.append(Fault(request_that_stalls, stall_s=1.0))
    with pytest.raises(HubError, match=r"Cannot reach .*timed out"):
        find.find_folder("tiny")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            Fault(r"HEAD .*/config", headers={"ETag": '"../../../../outside"'}),
            "ETag '\"../../../../outside\"' is no file's name",
        ),
        (
            Fault(r"HEAD .*/model", headers={"X-Linked-Etag": "../../../../outside"}),
            "X-Linked-Etag '../../../../outside' is no file's name",
        ),
        (
            Fault(r"HEAD .*/config", headers={"X-Repo-Commit": "../../../outside"}),
            "X-Repo-Commit '../../../outside' is no file's name",
        ),
        (
            Fault(r"HEAD .*/config", headers={"Content-Length": "200000000"}),
            "config.json on {} was not downloaded: it has 200000000 bytes; the limit",
        ),
        (
            Fault(r"GET .*/config", endless=bytes(2**16)),
            "config.json on {} was not downloaded: it has more than 1048576 bytes",
        ),
        (Fault(r"GET /api", endless=b" " * 2**16), "it has more than 16777216 bytes"),
        (
            Fault(r"GET .*/config", endless=b"{", pause_s=0.05),
            "bytes came in 0 s; try again later",
        ),
        (
            Fault(r"GET /storage", headers={"Content-Encoding": "gzip"}),
            "it is compressed, which was not asked for",
        ),
    ],
    ids=["etag", "linked", "commit", "said", "long", "info", "drip", "compressed"],
)
def test_what_no_honest_hub_answers_is_refused_at_once(
    on_hub: ModelCard,
    server: FakeHub,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    message: str,
):
    """Nothing is written outside of the cache, and no wait is without end."""
    monkeypatch.setattr("synthzoo.zoo.limits.PATIENCE_S", 0.3)
    server.faults.append(fault)
    start = time.monotonic()
    with pytest.raises(HubError) as caught:
        find.find_folder("tiny")
    assert message.format(server.url) in str(caught.value)
    assert time.monotonic() - start < 8.0
    assert not list(cache.parents[1].rglob("*outside*"))
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert size < 2**24


def test_the_client_of_the_process_stays_as_it_was(on_hub: ModelCard, server: FakeHub):
    """Whoever uses `huggingface_hub` besides finds the client it had."""
    from huggingface_hub import get_session

    before = get_session()
    hooks = {name: list(found) for name, found in before.event_hooks.items()}
    find.find_folder("tiny")
    assert get_session() is before
    assert {name: list(found) for name, found in before.event_hooks.items()} == hooks


@pytest.mark.parametrize(
    ("fault", "pauses"),
    [
        (Fault(r"GET /api", times=3, status=503), [1.0, 2.0, 4.0]),
        (Fault(r"GET .*/config", times=1, status=502), [1.0]),
        (Fault(r"HEAD .*/resolve/", times=2, status=504), None),
        (Fault(r"GET /storage", times=1, change=lambda body: body[:9]), [1.0]),
        (Fault(r"GET /storage", times=1, break_off=True), None),
    ],
)
def test_a_passing_fault_is_waited_out(
    on_hub: ModelCard,
    server: FakeHub,
    waits: list[float],
    fault: Fault,
    pauses: list[float] | None,
):
    """A hub that is busy for a moment costs seconds, not the download."""
    server.faults.append(fault)
    assert verify_checkpoint(find.find_folder("tiny")).passed
    assert fault.times == 0
    assert waits if pauses is None else waits == pauses


def test_a_repository_that_holds_something_else_is_refused(
    server: FakeHub, cache: Path, zoo: Zoo
):
    """Nothing is downloaded from a repository without the files of a checkpoint."""
    server.add(REPOSITORY, {CONFIG_FILE: b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(HubError, match=r"not a synthzoo checkpoint: \['model.safetens"):
        find.find_folder(f"hf:{REPOSITORY}")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (WEB_PAGE, r"config\.json \(a web page\) does not describe a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"\(a Git LFS pointer\)"),
        (b"{}", r"config\.json: "),
    ],
)
def test_an_unregistered_repository_is_checked_before_use(
    server: FakeHub,
    cache: Path,
    zoo: Zoo,
    files: dict[str, bytes],
    config: bytes,
    message: str,
):
    """Without a record the structure at least must be a checkpoint's."""
    server.add(REPOSITORY, files | {CONFIG_FILE: config})
    with pytest.raises(CheckpointError, match=message):
        find.find_folder(f"hf:{REPOSITORY}")


@pytest.mark.parametrize("reference", ["tiny", f"hf:{REPOSITORY}@v1"])
def test_wrong_content_of_the_right_size_is_refused(
    on_hub: ModelCard, server: FakeHub, files: dict[str, bytes], reference: str
):
    """With a record or without, the weights' hash is checked."""
    repository = server.repositories[REPOSITORY]
    repository.branches["v1"] = repository.branches["main"]
    server.faults.append(
        Fault(rf"storage/{sha256(files[WEIGHTS_FILE])}", change=flipped)
    )
    with pytest.raises(IntegrityError, match="is not the file on record"):
        find.find_folder(reference)


def test_a_wrong_file_in_the_cache_is_refused_until_it_is_removed(
    on_hub: ModelCard, server: FakeHub, cache: Path, files: dict[str, bytes]
):
    """The message names both hashes and the folder to remove, and that helps."""
    folder = find.find_folder("tiny")
    wrong = flipped(files[WEIGHTS_FILE])
    (folder / WEIGHTS_FILE).resolve().write_bytes(wrong)
    count = len(server.requests)
    with pytest.raises(IntegrityError) as caught:
        find.find_folder("tiny")
    message = str(caught.value)
    assert sha256(wrong) in message
    assert sha256(files[WEIGHTS_FILE]) in message
    repository = cache / "models--zoo--tiny-carbon"
    assert message.endswith(
        f"Remove {repository} and run `synthzoo fetch tiny-carbon`."
    )
    assert len(server.requests) == count
    shutil.rmtree(repository)
    assert verify_checkpoint(find.fetch("tiny-carbon")).passed


def test_a_web_page_in_the_cache_is_called_by_its_name(on_hub: ModelCard):
    """A page of a log-in portal that an older client has kept is recognised."""
    folder = find.find_folder("tiny")
    (folder / WEIGHTS_FILE).resolve().write_bytes(WEB_PAGE)
    with pytest.raises(
        IntegrityError, match=r"model\.safetensors \(a web page\) is no"
    ):
        find.find_folder("tiny")


def test_half_a_snapshot_in_the_cache_is_completed(on_hub: ModelCard):
    """What an interrupted download has left is used, the rest is fetched."""
    folder = find.find_folder("tiny")
    (folder / GOLDEN_FILE).unlink()
    assert find.location(on_hub) == "hub"
    assert find.find_folder("tiny") == folder
    assert (folder / GOLDEN_FILE).is_file()


def test_a_full_disk_is_one_clear_error(
    on_hub: ModelCard, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """The kernel's own refusal to write becomes advice."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    name = SimpleNamespace(hex="0" * 32)
    monkeypatch.setattr("uuid.uuid4", lambda: name)  # the client's temporary names
    blobs = cache / "models--zoo--tiny-carbon" / "blobs"
    blobs.mkdir(parents=True)
    config = on_hub_blob(on_hub)
    (blobs / f"{config}.00000000.incomplete").symlink_to("/dev/full")
    with pytest.raises(HubError) as caught:
        find.find_folder("tiny")
    assert f"No space left for {REPOSITORY} in the cache {cache}" in str(caught.value)
    assert "HF_HOME" in str(caught.value)
    assert leftovers(cache) == []


def on_hub_blob(card: ModelCard) -> str:
    """Return the name under which the cache keeps a model's ``config.json``."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(REPOSITORY, CONFIG_FILE, revision=card.hub.revision)
    tag = get_hf_file_metadata(url).etag
    assert tag is not None
    return tag


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written_is_one_clear_error(
    on_hub: ModelCard, cache: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    """Root may write anywhere, so the refusal is the test's own."""

    def refuse(path: Any, *_args: Any, **_kwargs: Any) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("os.makedirs", refuse)
    with pytest.raises(HubError) as caught:
        find.find_folder("tiny")
    assert f"Cannot write {REPOSITORY} into the cache {cache}" in str(caught.value)
    assert "Set HF_HOME" in str(caught.value)


def test_a_read_only_cache_serves_what_it_holds(
    on_hub: ModelCard, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """A cluster's shared cache is used without a single write."""
    folder = find.find_folder("tiny")
    before = {path: path.lstat().st_mtime_ns for path in cache.rglob("*")}
    for path in (*cache.rglob("*"), cache):
        if not path.is_symlink():
            path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        assert find.find_folder("tiny") == folder
        assert verify_checkpoint(folder).passed
        assert {path: path.lstat().st_mtime_ns for path in cache.rglob("*")} == before
    finally:
        for path in (cache, *cache.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)


# Other processes, with the settings of the environment

FETCH = """
import sys
from pathlib import Path
from synthzoo.zoo.find import fetch, find_folder
if len(sys.argv) == 2:
    print(find_folder(sys.argv[1]))
else:
    print(fetch(sys.argv[1], destination=Path(sys.argv[2])))
"""


def run_client(server: FakeHub, home: Path, *arguments: str, **settings: str) -> Any:
    """Start a process that finds a model, or copies it, and prints where it is."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_environment_decides_as_everywhere(
    server: FakeHub, tmp_path: Path, files: dict[str, bytes]
):
    """HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE mean what they always mean."""
    commit = server.add(REPOSITORY, files, private=True)
    reference = f"hf:{REPOSITORY}@{commit}"
    output, errors = run_client(
        server, tmp_path, reference, HF_TOKEN=READ_TOKEN
    ).communicate()
    folder = tmp_path / "hub" / "models--zoo--tiny-carbon" / "snapshots" / commit
    assert output == f"{folder}\n", errors
    count = len(server.requests)
    offline = run_client(server, tmp_path, reference, HF_HUB_OFFLINE="1").communicate()
    assert offline == (output, "")
    assert len(server.requests) == count


@pytest.mark.thorough
@pytest.mark.parametrize("destination", [[], ["mine"]])
def test_processes_that_fetch_at_once_do_not_disturb_each_other(
    server: FakeHub, tmp_path: Path, files: dict[str, bytes], destination: list[str]
):
    """All get the same whole folder, in the cache or where they want a copy."""
    reference = f"hf:{REPOSITORY}@{server.add(REPOSITORY, files)}"
    copies = [str(tmp_path / name) for name in destination]
    clients = [run_client(server, tmp_path, reference, *copies) for _ in range(3)]
    answers = [client.communicate() for client in clients]
    assert [client.returncode for client in clients] == [0, 0, 0], answers
    (folder,) = {output.strip() for output, _ in answers}
    assert {path.name for path in Path(folder).iterdir()} == set(MODEL_FILES)
    assert leftovers(tmp_path) == []


# A folder of one's own


def test_a_model_is_copied_with_its_card(
    on_hub: ModelCard, tmp_path: Path, files: dict[str, bytes]
):
    """The copy is a whole checkpoint; its page comes from the register."""
    folder = find.fetch("tiny", destination=tmp_path / "new" / "mine")
    assert {path.name for path in folder.iterdir()} == {*MODEL_FILES, CARD_FILE}
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert (folder / WEIGHTS_FILE).read_bytes() == files[WEIGHTS_FILE]
    assert (folder / CARD_FILE).read_text("utf-8") == render_card(on_hub)
    assert leftovers(folder.parent) == []


def test_a_copy_may_be_asked_for_again(on_hub: ModelCard, tmp_path: Path):
    """The same command twice is no error."""
    first = find.fetch("tiny", destination=tmp_path / "mine")
    assert find.fetch("tiny", destination=tmp_path / "mine") == first
    assert leftovers(tmp_path / "mine") == []


def test_a_folder_with_something_else_is_not_overwritten(
    tiny_checkpoint: Path, tmp_path: Path
):
    """The user's files stay, and nothing is added to them."""
    mine = tmp_path / "mine"
    write_files(mine, {"notes.txt": b"keep me"})
    with pytest.raises(InputError, match="mine exists and holds something else"):
        find.fetch(tiny_checkpoint, destination=mine)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_in_the_way_is_not_overwritten(tiny_checkpoint: Path, tmp_path: Path):
    """A destination must be a folder."""
    (tmp_path / "mine").write_text("keep me")
    with pytest.raises(InputError, match="mine exists and is not a folder"):
        find.fetch(tiny_checkpoint, destination=tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "keep me"


def test_half_a_checkpoint_is_not_copied(files: dict[str, bytes], tmp_path: Path):
    """What is missing is named; no destination appears."""
    del files[GOLDEN_FILE]
    write_files(tmp_path / "half", files)
    with pytest.raises(InputError, match=r"not a whole checkpoint: \['golden.safeten"):
        find.fetch(tmp_path / "half", destination=tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


def test_the_current_folder_is_not_replaced(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A shell would be left standing in a folder that is gone."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Choose a new folder"):
        find.fetch(tiny_checkpoint, destination=Path())


def test_a_parent_that_is_a_file_is_one_clear_error(
    tiny_checkpoint: Path, tmp_path: Path
):
    """The destination cannot be made below a file."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="mine cannot be written: Not a directory"):
        find.fetch(tiny_checkpoint, destination=tmp_path / "file" / "mine")


def test_a_destination_that_cannot_be_written_leaves_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A disk that fills up in the middle of a copy is one clear error."""

    def refuse(_source: Any, destination: Path) -> None:
        destination.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(InputError, match="mine cannot be written: No space left on"):
        find.fetch(tiny_checkpoint, destination=tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


# Publishing


@pytest.fixture
def own(files: dict[str, bytes], tmp_path: Path) -> Path:
    """Return a user's own model with its card and a file that is nobody's business."""
    page = b"---\nlicense: mit\n---\n# Mine\n"
    write_files(tmp_path / "own", files | {CARD_FILE: page, "notes.txt": b"private"})
    return tmp_path / "own"


@pytest.fixture
def author(cache: Path, zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in with the right to write."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)


@pytest.mark.parametrize("elements", [("C",), ("C", "Si"), ("C", "Si", "Ge")])
def test_a_published_model_predicts_the_same_everywhere(
    author: None, server: FakeHub, zoo: Zoo, elements: tuple[str, ...], tmp_path: Path
):
    """Publish, fetch, verify, predict: the whole way round through the hub."""
    from ase.build import bulk

    from synthzoo.zoo.load import load_calculator

    write_tiny_checkpoint(tmp_path / "made", elements)
    files = {name: (tmp_path / "made" / name).read_bytes() for name in MODEL_FILES}
    card = zoo.add(files, elements=list(elements))
    bundled = zoo.bundle(card, files)
    publication = publish("tiny", REPOSITORY)
    assert publication.commit is not None
    assert publication.url == f"{server.url}/{REPOSITORY}/commit/{publication.commit}"
    on_server = server.repositories[REPOSITORY].commits[publication.commit]
    assert on_server[CARD_FILE].decode() == render_card(card)

    folder = find.fetch(f"hf:{REPOSITORY}@{publication.commit}")
    assert folder != bundled
    assert verify_checkpoint(folder).passed
    energies = []
    for place in (bundled, folder):
        atoms = mixed(bulk("C", cubic=True), elements)
        atoms.calc = load_calculator(place, device="cpu")
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[1]


def test_the_hashes_of_a_publication_fit_into_the_card(
    author: None, server: FakeHub, zoo: Zoo, files: dict[str, bytes]
):
    """With the commit written into its card, a model comes from the hub."""
    zoo.bundle(zoo.add(files), files)
    publication = publish("tiny", REPOSITORY)
    shutil.rmtree(zoo.package / "weights")
    card = zoo.add(files, revision=publication.commit)
    assert find.find_folder("tiny").name == publication.commit
    assert find.location(card) == "cached"
    for name, record in card.files.items():
        assert publication.files[name] == record


def test_a_dry_run_opens_no_connection(
    server: FakeHub, cache: Path, zoo: Zoo, files: dict[str, bytes]
):
    """The plan is made without token and without network."""
    zoo.bundle(zoo.add(files), files)
    plan = publish("tiny", REPOSITORY, private=True, dry_run=True)
    assert server.requests == []
    assert (plan.repository, plan.private, plan.commit) == (REPOSITORY, True, None)
    assert set(plan.files) == {*MODEL_FILES, CARD_FILE}
    assert plan.files[WEIGHTS_FILE].sha256 == sha256(files[WEIGHTS_FILE])


def test_a_model_of_the_users_own_is_published_with_its_own_card(
    author: None, server: FakeHub, own: Path
):
    """A fine-tuned model is in no register; its README.md is its card."""
    publication = publish(own, REPOSITORY)
    content = server.repositories[REPOSITORY].commits[publication.commit or ""]
    assert content[CARD_FILE] == (own / CARD_FILE).read_bytes()
    assert "notes.txt" not in content


def test_the_figures_of_a_card_are_published_with_it(
    author: None, server: FakeHub, own: Path
):
    """Pictures that the card shows go along; one that is missing is an error."""
    card = own / CARD_FILE
    card.write_text(card.read_text() + "\n![Learning curve](figures/curve.png)\n")
    with pytest.raises(InputError, match=r"shows figures/curve\.png, which is not in"):
        publish(own, REPOSITORY)
    write_files(own / "figures", {"curve.png": b"picture", "other.png": b"other"})
    publication = publish(own, REPOSITORY)
    content = server.repositories[REPOSITORY].commits[publication.commit or ""]
    assert content["figures/curve.png"] == b"picture"
    assert "figures/other.png" not in content


def test_a_model_without_card_is_not_published(
    author: None, server: FakeHub, tiny_checkpoint: Path
):
    """The message says what to write."""
    with pytest.raises(
        InputError, match=r"has no README\.md\. Write one that says what the"
    ):
        publish(tiny_checkpoint, REPOSITORY)
    assert server.requests == []


def test_a_model_that_predicts_something_else_is_not_published(
    author: None, server: FakeHub, tiny_checkpoint: Path, tmp_path: Path
):
    """Verification comes before the first request."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "changed")
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["arguments"]["avg_num_neighbors"] = 2.0
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match="does not belong to"):
        publish(folder, REPOSITORY)
    # an older checkpoint, whose predictions do not vouch for its description
    save_file(load_file(folder / GOLDEN_FILE), folder / GOLDEN_FILE)
    config["golden_sha256"] = hash_files([folder / GOLDEN_FILE])
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"does not reproduce.*was uploaded"):
        publish(folder, REPOSITORY)
    assert server.requests == []


def test_a_private_model_is_seen_by_its_owners_only(
    author: None,
    server: FakeHub,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Without a token the repository does not exist."""
    commit = publish(own, REPOSITORY, private=True).commit
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"no repository zoo/tiny-carbon on .* private"):
        find.find_folder(f"hf:{REPOSITORY}@{commit}")


@pytest.mark.parametrize("how", [{}, {"pull_request": True}])
def test_a_private_model_is_not_put_into_a_public_repository(
    author: None,
    server: FakeHub,
    own: Path,
    how: dict[str, bool],
):
    """An existing public repository would give away what should stay private."""
    server.add(REPOSITORY, {CARD_FILE: b"# Public\n"})
    with pytest.raises(HubError, match="exists and is public; nothing was uploaded"):
        publish(own, REPOSITORY, private=True, **how)
    assert len(server.repositories[REPOSITORY].commits) == 1


def test_a_pull_request_leaves_the_branch_alone(
    author: None, server: FakeHub, own: Path
):
    """The owners of a repository decide what becomes of it."""
    before = server.add(REPOSITORY, {CARD_FILE: b"# Theirs\n"})
    publication = publish(own, REPOSITORY, pull_request=True)
    assert publication.url == f"{server.url}/{REPOSITORY}/discussions/1"
    repository = server.repositories[REPOSITORY]
    assert repository.branches["main"] == before
    assert repository.branches["refs/pr/1"] == publication.commit


def test_a_pull_request_needs_a_repository(author: None, server: FakeHub, own: Path):
    """A repository is not made in passing."""
    with pytest.raises(HubError, match="There is no repository zoo/tiny-carbon"):
        publish(own, REPOSITORY, pull_request=True)
    assert server.repositories == {}


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (
            None,
            "answered 401 Unauthorized.*Log in with `hf auth login` or set HF_TOKEN",
        ),
        ("hf_wrong", "answered 401 Unauthorized.*the token is not valid"),
        (READ_TOKEN, "answered 403 Forbidden.*rights to write here.*needs permission"),
    ],
)
def test_publishing_needs_the_right_to_write(
    author: None,
    server: FakeHub,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    message: str,
):
    """Who may not write is told how to log in; nothing is uploaded."""
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=message):
        publish(own, REPOSITORY)
    assert server.repositories == {}


def test_a_hub_that_is_busy_for_a_moment_does_not_stop_a_publication(
    author: None, server: FakeHub, own: Path
):
    """What can be asked twice without harm is asked again."""
    for request in (r"POST /api/repos", r"POST .*/preupload", r"PUT /storage"):
        server.faults.append(Fault(request, times=1, status=503))
    assert publish(own, REPOSITORY).commit is not None
    assert [fault.times for fault in server.faults] == [0, 0, 0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(r"POST .*/commit/", status=500), "answered 500 Internal Server Error"),
        (Fault(r"PUT /storage", status=403), "answered 403 Forbidden"),
        (Fault(r"POST /api/validate", page=True), "did not answer like a Hugging Face"),
    ],
)
def test_an_upload_that_fails_publishes_nothing(
    author: None,
    server: FakeHub,
    own: Path,
    fault: Fault,
    message: str,
):
    """All files come with one commit or none does."""
    server.faults.append(fault)
    with pytest.raises(HubError, match=message):
        publish(own, REPOSITORY)
    assert len(server.repositories[REPOSITORY].commits) == 1


def test_publishing_offline_is_refused(
    author: None, server: FakeHub, own: Path, monkeypatch: pytest.MonkeyPatch
):
    """The setting that forbids it is named."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"^HF_HUB_OFFLINE forbids to connect to http"):
        publish(own, REPOSITORY)
    assert server.requests == []


def test_a_card_that_the_hub_refuses_is_explained(
    author: None, server: FakeHub, own: Path
):
    """The hub's own complaint reaches the user."""
    (own / CARD_FILE).write_bytes(b"---\nlicense: [\n---\n")
    with pytest.raises(
        HubError, match=r"Invalid metadata in README\.md\. - while pars"
    ):
        publish(own, REPOSITORY)


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "a b/c", "hf:a/b"])
def test_a_name_that_cannot_be_a_repository_is_refused(
    name: str, tiny_checkpoint: Path
):
    """The expected form is named."""
    with pytest.raises(InputError, match="Expected organisation/name, found"):
        publish(tiny_checkpoint, name, dry_run=True)


@pytest.mark.thorough
def test_a_published_model_keeps_its_levels_of_theory(
    author: None, two_levels: Path, tmp_path: Path
):
    """Publish, fetch, verify, compute, evaluate, run: each level stays what it is."""
    from ase.build import bulk

    from synthzoo import evaluate_models, load_calculator, predict_file, run_md
    from synthzoo.data.structures import read_structures, write_structures

    commit = publish(two_levels, REPOSITORY).commit
    fetched = f"hf:{REPOSITORY}@{commit}"
    assert find.fetch(fetched) != two_levels
    assert verify_checkpoint(find.find_checkpoint(fetched)).passed
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=1)
    bare, errors, energies = tmp_path / "bare.xyz", [], []
    write_structures(bare, [atoms])
    for level in (None, "pbe"):
        labels = tmp_path / f"{level}.xyz"
        predict_file(two_levels, bare, labels, level=level)
        (known,) = read_structures(labels)
        atoms.calc = load_calculator(fetched, level=level, device="cpu")
        energies.append(atoms.get_potential_energy())
        known_eV = known.get_potential_energy()
        assert energies[-1] == pytest.approx(known_eV, abs=1e-5)
        (found,) = evaluate_models([fetched], labels, level=level)
        errors.append(found.groups[0].energy_rmse_meV_per_atom)
    assert errors == pytest.approx([0, 0], abs=1e-3)
    assert energies[0] != pytest.approx(energies[1], abs=1)
    run_md(
        fetched,
        atoms,
        tmp_path / "md",
        level="pbe",
        protocol="nve",
        duration=0.002,
        replicas=1,
        workers=1,
    )
    (path,) = (tmp_path / "md").rglob("*.traj")
    first = read_structures(path)[0]
    assert first.get_potential_energy() == pytest.approx(energies[1], abs=0.3)
