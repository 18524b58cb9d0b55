"""What the stores have in common, SQLite and PostgreSQL: values, and rows that both read in the same way."""
