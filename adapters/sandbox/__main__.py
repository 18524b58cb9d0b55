"""Run the sandbox: ``python -m adapters.sandbox``."""

import os
import signal
import sys

if __name__ == "__main__":
    # Until the program handles signals itself, there is nothing to shut down in order. A KeyboardInterrupt would not
    # do: raised in the middle of an import, it can be taken for that import's own failure and be lost.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from adapters.sandbox.program import main

    sys.exit(main())
