"""What the shop can show: requests, receipts, notices, what was written out, and how long everything is kept."""
