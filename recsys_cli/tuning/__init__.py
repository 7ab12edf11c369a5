"""Choosing model and hyperparameters for this shop: `recsys tune`."""

from .choice import Choice, load_choice, save_choice

__all__ = ["Choice", "load_choice", "save_choice"]
