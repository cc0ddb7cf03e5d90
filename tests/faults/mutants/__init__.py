"""The services with one protection taken away, one way after another: the harness must see each.

    mutants.py    the list: what is broken, which promise that breaks, which faults show it
    breaking.py   a copy of the project with one mutant in it
    __main__.py   runs the harness in such copies (`make mutants`)

`tests/saga/mutants.py` breaks the rules of the pure world; these break the running system. Where
the database protects as well, that protection is broken in the same mutant.
"""
