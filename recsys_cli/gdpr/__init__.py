"""The rights of people: access, erasure with proof, correction, choice; in store, spool, versions and servers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .proof.scan import verify
    from .rights.erase import Erasure, erase, resume
    from .rights.export import export

__all__ = ["Erasure", "erase", "export", "resume", "verify"]
_PLACES = {"export": "rights.export", "verify": "proof.scan"}


def __getattr__(name: str) -> Any:
    """Loaded when it is needed: `recsys status` reads a journal, and must not load what erases."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'rights.erase')}"), name)
