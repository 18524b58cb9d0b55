"""Work: durable jobs, and what stands while an account is healthy."""
