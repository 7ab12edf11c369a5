"""What can happen between a customer and an item. By itself, so that a command's help need not load NumPy."""

from __future__ import annotations

PURCHASE, VIEW, CART, REFUND = "purchase", "view", "cart", "refund"
CLICK, IMPRESSION, LIKE, DISLIKE = "click", "impression", "like", "dislike"
EVENT_TYPES = (PURCHASE, VIEW, CART, REFUND, CLICK, IMPRESSION, LIKE, DISLIKE)
