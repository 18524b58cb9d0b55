"""``python -m engine``."""

import sys

if __name__ == "__main__":
    try:
        from engine.cli import app

        app()
    except KeyboardInterrupt:
        # Before ``run`` listens to signals itself there is nothing to end in order yet.
        sys.exit(130)
