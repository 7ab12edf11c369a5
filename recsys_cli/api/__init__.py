"""The HTTP server: what is asked and answered, under which conditions; all answers come from `serving`."""
