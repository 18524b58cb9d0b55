"""All accounts side by side: a runner for each, and the parts that watch over all of them."""
