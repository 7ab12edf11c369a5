"""The shop's own files in the watched folder: listed when they name somebody, and never changed."""
