"""All accounts side by side: one runner each, and what looks after all of them together."""
