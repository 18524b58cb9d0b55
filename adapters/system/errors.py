"""What the machine cannot do for the engine."""


class DeadManUnusable(Exception):
    """Nothing would end this process at a deadline; the text is a sentence that says why, and what to do."""
