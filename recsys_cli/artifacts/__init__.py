"""Published versions and the event spool, in one private directory; knows nothing of the database."""

from .spool import Position, Spool, SpoolWriter
from .versions import Artifacts, Draft, Version

__all__ = ["Artifacts", "Draft", "Position", "Spool", "SpoolWriter", "Version"]
