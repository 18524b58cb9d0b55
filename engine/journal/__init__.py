"""Uses of the journal: replay, explanation, statistics, following, retention."""
