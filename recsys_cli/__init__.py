"""recsys: the recommender a small shop runs itself."""

__version__: str
__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    # Finding the version out loads much of the standard library, before the command can answer Ctrl-C.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("recsys-cli")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
