"""Past and future: what is hidden from a model, and what it is judged by."""
