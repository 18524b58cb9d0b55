"""What the datacenter remembers: accounts, keys, messages, channels, credentials and pending logins."""
