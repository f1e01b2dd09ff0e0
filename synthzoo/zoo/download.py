"""Checkpoints of the hub: from its cache on this machine, or into it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import synthzoo
from synthzoo.errors import HubError
from synthzoo.models.checkpoint import MAX_BYTES
from synthzoo.models.config import CARD_FILE, MODEL_FILES, OPTIONAL_FILES
from synthzoo.zoo.hub_errors import endpoint, may_pass, one_clear_error
from synthzoo.zoo.limits import limited_answers
from synthzoo.zoo.references import check_files, check_own_hashes

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

    from synthzoo.zoo.references import Remote


logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

TIMEOUT_S = 10.0
"""Of the question what a repository holds; files have `huggingface_hub`'s own."""

MAX_INFO_BYTES = 2**24

_WAITS_S = (1.0, 2.0, 4.0)
"""Pauses before a request is made again; one try more than there are pauses."""


def hub_api() -> HfApi:
    """Return the client of the hub; it knows endpoint, token and cache by itself."""
    from huggingface_hub import HfApi

    return HfApi(library_name="synthzoo", library_version=synthzoo.__version__)


def model_info(
    api: HfApi, repository: str, *, revision: str | None = None
) -> ModelInfo:
    """Return what the hub says about a repository: its commit, files and privacy.

    ``repository``: as ``organisation/name``.
    ``revision``: branch, tag or commit, if not the newest commit.
    """
    with limited_answers(repository, limit=MAX_INFO_BYTES):
        return patiently(
            lambda: api.model_info(repository, revision=revision, timeout=TIMEOUT_S)
        )


def patiently(request: Callable[[], Answer]) -> Answer:
    """Return the answer to a request, made again while the hub is only busy."""
    for wait_s in _WAITS_S:
        try:
            return request()
        except OSError as error:
            if not may_pass(error):
                raise
        logger.warning("%s is busy; next try in %g s", endpoint(), wait_s)
        time.sleep(wait_s)
    return request()


def find_remote(remote: Remote, *, offline: bool, refresh: bool) -> Path:
    """Return the folder of a checkpoint of the hub, downloaded if that is needed.

    Its files are compared with the register, or with its own ``config.json`` if the
    register does not know it.

    ``refresh``: whether to ask the hub what a branch points to now.
    """
    folder = None
    if offline or remote.pinned or not refresh:
        folder = cached_folder(remote)
    if folder is None:
        folder = _download(remote, offline=offline)
    way_out = f"Remove {folder.parents[1]} and run `synthzoo fetch {remote.reference}`."
    if remote.card is not None:
        check_files(folder, remote.card.files, way_out=way_out)
    else:
        check_own_hashes(folder, way_out=way_out)
    return folder


def cached_folder(remote: Remote) -> Path | None:
    """Return the snapshot in the Hugging Face cache, if it is whole."""
    from huggingface_hub import try_to_load_from_cache

    folders = set()
    for name in MODEL_FILES:
        found = try_to_load_from_cache(
            remote.repository, name, revision=remote.revision
        )
        if not isinstance(found, str):
            return None
        folders.add(Path(found).parent)
    return folders.pop() if len(folders) == 1 else None


def _download(remote: Remote, *, offline: bool) -> Path:
    # Bring the files of a checkpoint, and nothing else, into the cache.
    if offline:
        raise HubError(
            f"{remote.repository}@{remote.revision} is not in the Hugging Face cache "
            "and the network may not be used (HF_HUB_OFFLINE). Run `synthzoo fetch "
            f"{remote.reference}` once where there is a network."
        )
    with one_clear_error(remote.repository, remote.revision):
        api = hub_api()
        info = model_info(api, remote.repository, revision=remote.revision)
        names = _names_to_download(info, remote)
        first = _download_file(api, remote, names[0], revision=remote.revision)
        folder = first.parent
        if folder.name != info.sha:
            raise HubError(
                f"{remote.repository}@{remote.revision} changed while it was being "
                "downloaded. Try again."
            )
        for name in names[1:]:
            _download_file(api, remote, name, revision=folder.name)
    return folder


def _names_to_download(info: ModelInfo, remote: Remote) -> list[str]:
    there = {sibling.rfilename for sibling in info.siblings or ()}
    if missing := [name for name in MODEL_FILES if name not in there]:
        raise HubError(
            f"{remote.repository}@{remote.revision} on {endpoint()} is not a synthzoo "
            f"checkpoint: {missing} missing."
        )
    extra = (*OPTIONAL_FILES, CARD_FILE)
    return [*MODEL_FILES, *(name for name in extra if name in there)]


def _download_file(api: HfApi, remote: Remote, name: str, *, revision: str) -> Path:
    with limited_answers(f"{remote.repository}/{name}", limit=MAX_BYTES[name]):
        path = patiently(
            lambda: api.hf_hub_download(remote.repository, name, revision=revision)
        )
    return Path(path)
