"""What is made of the journal: replay, explanation, statistics, following, retention."""
