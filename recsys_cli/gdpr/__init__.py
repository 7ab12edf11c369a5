"""The rights of people: access, erasure with proof, correction, choice; in store, spool, versions and servers."""

from .rights.erase import Ask, Erasure, erase, resume
from .rights.export import export
from .rights.verify import verify

__all__ = ["Ask", "Erasure", "erase", "export", "resume", "verify"]
