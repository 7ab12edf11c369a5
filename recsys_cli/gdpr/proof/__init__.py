"""The proof of an erasure: every file that is ours, searched for the person in the encodings that we write."""
