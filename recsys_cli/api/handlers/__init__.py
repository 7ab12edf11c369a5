"""What answers each route: one function a route, in the file of its kind."""
