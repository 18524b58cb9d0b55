"""Work: durable jobs, and background tasks that run while their account is healthy."""
