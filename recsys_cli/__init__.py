"""recsys: the recommender a small shop runs itself."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("recsys-cli")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
