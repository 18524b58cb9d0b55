"""The ways by which alerts leave this machine: Apprise's services, and a command."""
