"""The rights of people: export, erasure with proof, and staying gone, across store, spool, versions and servers."""

from .erasing import Erasure, erase, resume
from .exporting import export
from .verifying import verify

__all__ = ["Erasure", "erase", "export", "resume", "verify"]
