"""Several processes that share the accounts of one machine: what their parent decides, and how it reaches them."""
