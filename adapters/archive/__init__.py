"""Everything that an engine needs, in one file: written while it runs, put back while it does not."""
