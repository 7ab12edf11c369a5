"""What several models share: least squares, cold starts, factorisations, content features."""
