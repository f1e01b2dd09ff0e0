"""Where checkpoints come from and go to: only this package uses the internet.

A reference is a folder, a name of the register, or ``hf:organisation/name@revision``.
It is looked for in that order: folder, bundled, Hugging Face cache, network. Transport,
cache, locks and tokens are `huggingface_hub`'s; ours are the order, the hashes and the
errors.
"""

from synthzoo.hub.finding import fetch, fetch_all, find_folder, location, unlicensed

__all__ = ["fetch", "fetch_all", "find_folder", "location", "unlicensed"]
