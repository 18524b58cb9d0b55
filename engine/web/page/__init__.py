"""The page: the fleet, its accounts, jobs and incidents in a browser, rendered here and kept up to date by events."""
