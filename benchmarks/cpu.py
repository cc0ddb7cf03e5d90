"""CPU time by process, of servers whose own processes come and go."""

from collections.abc import Iterable, Mapping

import psutil

from deploy.local.stack import LocalStack


def cpu_seconds(stack: LocalStack, programs: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """CPU seconds so far of the servers, of this load (with what it started and waited for), and
    of each program, which may be several processes (ids)."""
    postgres = psutil.Process(stack.process("postgres").pid)
    # A backend that has ended counts for its parent, which is therefore asked last.
    backends = sum(map(_used_if_there, postgres.children()))
    servers = {
        "kafka": _used(psutil.Process(stack.process("kafka").pid)),
        "postgres": backends + _used(postgres, ended=True),
        "load": _used(psutil.Process(), ended=True),
    }
    return servers | {
        name: sum(_used(psutil.Process(pid)) for pid in pids) for name, pids in programs.items()
    }


def _used_if_there(process: psutil.Process) -> float:
    try:
        return _used(process)
    except psutil.NoSuchProcess:
        return 0.0


def _used(process: psutil.Process, *, ended: bool = False) -> float:
    times = process.cpu_times()
    children = times.children_user + times.children_system if ended else 0.0
    return float(times.user + times.system + children)
