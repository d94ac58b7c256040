"""The first process of a cluster's namespaces: when it ends, the kernel ends everything in there.

Owns nothing but its own life, by standard library alone; must not know what runs beside it.
"""

import os
import signal
import sys

# What others leave behind is then reaped by the kernel.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if sys.argv[1:] == ["owned"]:
    os.read(0, 1)
else:
    signal.pause()
