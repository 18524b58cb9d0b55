"""What the engine tells the machines around it: a web server, health, metrics, and heartbeats."""
