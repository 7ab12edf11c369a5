"""What lists earn, and which of two is better: attribution, reports, experiments on live visitors, replays."""
