"""Parts of the sample shop's generator: the range, its pictures, its customers and what they do."""
