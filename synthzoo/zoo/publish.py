"""Stage 4: a checkpoint to a repository of the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import synthzoo
from synthzoo.errors import CheckpointError, HubError, InputError
from synthzoo.models.checkpoint import Checkpoint, verify_checkpoint
from synthzoo.models.config import CARD_FILE, files_of
from synthzoo.runs.files import hash_content
from synthzoo.zoo.card_records import REPOSITORY, FileRecord
from synthzoo.zoo.cards import NO_LICENCE
from synthzoo.zoo.download import hub_api, model_info, patiently
from synthzoo.zoo.find import find_checkpoint
from synthzoo.zoo.hub_errors import endpoint, one_clear_error
from synthzoo.zoo.registry import cards_folder, page_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_FIGURE = re.compile(r"!\[[^\]]*\]\((?P<name>[\w-]+(?:/[\w-]+)*\.png)\)")


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What `publish` has uploaded, or would upload.

    Attributes
    ----------
    repository
        As ``organisation/name``.
    private
        Whether only its owners may see it.
    pull_request
        Whether it waits for its owners to accept it.
    files
        Size and hash of each file.
    commit
        Hash of the commit; none after a dry run.
    url
        Page of the commit or of the pull request; none after a dry run.
    """

    repository: str
    private: bool
    pull_request: bool
    files: Mapping[str, FileRecord]
    commit: str | None = None
    url: str | None = None


def publish(
    folder: str | Path | Checkpoint,
    repository: str,
    *,
    private: bool = False,
    pull_request: bool = False,
    dry_run: bool = False,
) -> Publication:
    """Upload a checkpoint with its card as one commit and return what was uploaded.

    The checkpoint is verified first: its stored predictions are recomputed.

    Parameters
    ----------
    folder
        Folder of a checkpoint, or another reference to a model.
    repository
        Repository as ``organisation/name``. It is created if it does not exist, unless
        a pull request is to be opened.
    private
        Whether only its owners may see a new repository.
    pull_request
        Whether to propose the files to the owners of an existing repository.
    dry_run
        Whether to stop before any connection is opened.

    Raises
    ------
    InputError
        If the repository's name cannot be one, there is no card, or the weights come
        from authors who gave no licence.
    CheckpointError
        If the checkpoint is malformed or does not predict what it should.
    HubError
        If the hub refuses or cannot be reached.

    Examples
    --------
    >>> from synthzoo import fetch
    >>> checked = publish(fetch("carbon-ace-2k"), "me/my-carbon", dry_run=True)
    >>> checked.url is None, "model.safetensors" in checked.files
    (True, True)
    """
    if not REPOSITORY.fullmatch(repository):
        raise InputError(f"Expected organisation/name, found {repository!r}.")
    source = find_checkpoint(folder)
    _refuse_without_licence(source)
    _verify(source)
    contents = _upload_contents(source)
    plan = Publication(
        repository=repository,
        private=private,
        pull_request=pull_request,
        files={name: _record(data) for name, data in contents.items()},
    )
    return plan if dry_run else _upload(plan, contents)


def _refuse_without_licence(source: Checkpoint) -> None:
    if _lacks_licence(source.config.provenance):
        raise InputError(
            f"The authors of the weights in {source.folder}, or of those that they "
            "were fitted from, gave no licence: they may not be published. Nothing was "
            "uploaded."
        )


def _lacks_licence(provenance: Any) -> bool:
    """Return whether the weights, or those they were fitted from, have no licence."""
    if not isinstance(provenance, dict):
        return False
    lacking = provenance.get("licence") == NO_LICENCE
    return lacking or _lacks_licence(provenance.get("start"))


def _verify(source: Checkpoint) -> None:
    verification = verify_checkpoint(source)
    if not verification.passed:
        raise CheckpointError(
            f"{source.folder} does not reproduce its stored predictions. "
            f"{verification.summary()} Nothing was uploaded."
        )


def _upload_contents(source: Checkpoint) -> dict[str, bytes]:
    folder, page = source.folder, page_of(source)
    if page is None:
        raise InputError(
            f"{folder} has no {CARD_FILE}. Write one that says what the model was "
            "trained on, and its errors, limits and licence; then publish again."
        )
    contents = {name: (folder / name).read_bytes() for name in files_of(folder)}
    return {**contents, CARD_FILE: page.encode(), **_figures(page, folder)}


def _figures(page: str, folder: Path) -> dict[str, bytes]:
    """Return the PNG files that a card shows, from its folder or the register's."""
    found = {}
    for match in _FIGURE.finditer(page):
        name = match["name"]
        places = [place / name for place in (folder, cards_folder())]
        file = next(filter(Path.is_file, places), None)
        if file is None:
            raise InputError(
                f"The card shows {name}, which is not in {folder}. Put it there, or "
                f"take it out of {CARD_FILE}."
            )
        found[name] = file.read_bytes()
    return found


def _record(data: bytes) -> FileRecord:
    return FileRecord(size=len(data), sha256=hash_content(data))


def _upload(plan: Publication, contents: Mapping[str, bytes]) -> Publication:
    from huggingface_hub import CommitOperationAdd

    with one_clear_error(plan.repository, "main"):
        api = hub_api()
        if not plan.pull_request:
            _make_repository(api, plan)
        if plan.private:
            _require_private(api, plan.repository)
        commit = api.create_commit(
            plan.repository,
            [
                CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
                for name, data in contents.items()
            ],
            commit_message=f"Upload a checkpoint of synthzoo {synthzoo.__version__}",
            create_pr=plan.pull_request,
        )
    url = commit.pr_url or commit.commit_url
    return dataclasses.replace(plan, commit=commit.oid, url=url)


def _make_repository(api: HfApi, plan: Publication) -> None:
    patiently(
        lambda: api.create_repo(plan.repository, private=plan.private, exist_ok=True)
    )


def _require_private(api: HfApi, repository: str) -> None:
    # Refuse to put what should stay private where everybody can read it.
    if not model_info(api, repository).private:
        raise HubError(
            f"{repository} exists and is public; nothing was uploaded. Make it private "
            f"on {endpoint()}/{repository}/settings or choose another name."
        )
