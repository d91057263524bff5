"""`delivery-status`, which tells how much garbage it has left: python -m tests.soak.counting worker.

The garbage collector is off. On SIGUSR1 it writes a line like those of its log: how many objects have been left since
the last time that only the collector would have freed, and of which types.
"""

import gc
import json
import runpy
import signal
import sys
from collections import Counter


def tell(*_: object) -> None:
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    types = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    told = {"event": "garbage_left", "objects": len(gc.garbage), "types": dict(types.most_common(12))}
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()
    sys.stderr.write(f"{json.dumps(told)}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    gc.disable()
    signal.signal(signal.SIGUSR1, tell)
    runpy.run_module("processor", run_name="__main__", alter_sys=True)
