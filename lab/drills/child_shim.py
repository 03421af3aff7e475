"""Stands before a real child and kills it at a chosen word: python -I -S child_shim.py PLAN COMMAND… FOLDER

Passes the child's events on, line by line, unchanged. PLAN (JSON): `at`: {"type": …, "phase": …} of the
event, its `number` (1), `what`: "kill" (the child, then itself, as an out-of-memory kill takes them both)
or "stop"; or `within_save`: the number of the save in the middle of which it is killed. Standard library
alone, nothing of ours: the child it starts is the real one.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time


def die(child: "subprocess.Popen[bytes]") -> None:
    """Both, at once."""
    child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)  # where we are the first process of a namespace, no signal of our own ends us


def kill_within_a_save(child: "subprocess.Popen[bytes]", folder: str, number: int) -> None:
    """A state that is being written has a name of its own: stop the child there, look again, and kill it."""
    seen: set[str] = set()
    while True:
        names = [n for n in _names(os.path.join(folder, "state")) if n.startswith(".unfinished-")]
        seen.update(names)
        if names and len(seen) >= number:
            child.send_signal(signal.SIGSTOP)
            if os.path.isdir(os.path.join(folder, "state", names[0])):
                die(child)
            child.send_signal(signal.SIGCONT)
        time.sleep(0.0002)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def main() -> None:
    plan, command, folder = json.loads(sys.argv[1]), sys.argv[2:], sys.argv[-1]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    if "within_save" in plan:
        threading.Thread(
            target=kill_within_a_save, args=(child, folder, plan["within_save"]), daemon=True
        ).start()
    left = plan.get("number", 1)
    assert child.stdout is not None
    for line in child.stdout:
        os.write(1, line)
        event = json.loads(line)
        if "at" in plan and plan["at"].items() <= event.items():
            left -= 1
            if left == 0:
                die(child)
    status = child.wait()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
