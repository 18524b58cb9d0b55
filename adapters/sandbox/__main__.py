"""`python -m adapters.sandbox`."""

import sys

if __name__ == "__main__":
    try:
        from adapters.sandbox.program import main

        sys.exit(main())
    except KeyboardInterrupt:
        # Before the program listens to signals itself there is nothing to end in order yet.
        sys.exit(130)
