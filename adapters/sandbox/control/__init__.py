"""Control of a running sandbox: commands as JSON lines, scenarios, and chaos."""
