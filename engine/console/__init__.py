"""What people read: the live table, status, log lines, and how values are written."""
