"""Everything that makes a version: the model, shelves, pairs and index, published by one pointer swap."""
