"""What the operator reads: the live table, status, log lines, and how values are written."""
