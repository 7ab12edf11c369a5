"""Models: one file per algorithm behind the contract of `base`, one line each in `registry`."""
