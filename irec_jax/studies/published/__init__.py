"""Published figures, by paper."""
