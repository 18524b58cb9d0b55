"""What if: the outages in a journal, run again under other settings."""
