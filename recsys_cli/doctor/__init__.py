"""What is wrong with a shop's data and set-up, worst first, and how to fix it."""
