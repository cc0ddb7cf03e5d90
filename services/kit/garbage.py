"""How the garbage collector is told to look away (docs/decisions/0011)."""

import gc


def spare_the_garbage_collector() -> None:
    """Let it look at new objects seldom, and never again at what the imports made.

    A batch makes tens of thousands of objects, hardly any of them in cycles; with Python's own
    thresholds, looking for cycles among them took a fifth of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
