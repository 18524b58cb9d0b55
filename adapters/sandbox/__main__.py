"""`python -m adapters.sandbox`."""

import os
import signal
import sys

if __name__ == "__main__":
    # Until the program listens to signals itself there is nothing to end in order. A KeyboardInterrupt would not do:
    # raised in the midst of an import, it can be taken for that import's own failure and be forgotten.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from adapters.sandbox.program import main

    sys.exit(main())
