"""recsys: the recommender a small shop runs itself.

From Python, a shop does what the command line does::

    from recsys_cli import Shop

    shop = Shop.open("recsys.duckdb")
    shop.ingest("orders.csv", "products.csv")
    shop.train()
    shop.recommend("13085", k=5)

Errors that have a known reason are `RecsysError`; their message says what is wrong, where, and what to do.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import RecsysError
    from .shop import Shop

__version__: str
__all__ = ["RecsysError", "Shop", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the command imports this package before it can answer Ctrl-C.
    if name == "Shop":
        from .shop import Shop

        return Shop
    if name == "RecsysError":
        from .errors import RecsysError

        return RecsysError
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("recsys-cli")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
