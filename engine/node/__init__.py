"""A node among many: it holds a lease for its accounts, watches the other nodes, and takes its share."""
