"""Jobs as JSON lines in, the seconds of every call and the answers as JSON lines out: how both sides are timed."""

import json
import os
import sys
import time
from pathlib import Path


def read_job():
    """Return the job whose path is the first argument, and a stream to answer on.

    Libraries may print what they like: the process's own standard output becomes its standard error.
    """
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with open(sys.argv[1], encoding="utf-8") as stream:
        return json.load(stream), out


def say(out, found):
    """Write a line of JSON to who started this process."""
    out.write(json.dumps(found) + "\n")
    out.flush()


def memory_bytes(process, kind):
    """Return the memory of a process as Linux counts it.

    `getrusage` would not do: to it, a process begins with the peak of the one that started it.

    Args:
        process: its id, or `self`.
        kind: `VmRSS`, which it has now, or `VmHWM`, the most that it had.
    """
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{kind}:"):
            return 1024 * int(line.split()[1])
    raise AssertionError(f"process {process} has no memory: it has ended")


def answer_lines(answer, texts, out):
    """Answer until the input ends.

    Args:
        answer: returns for a list of texts a dict of arrays, texts first, with `label_id` and `probabilities`.
        texts: lists of texts by name.
        out: where lines are written.

    A line that comes in has `name` of the texts, `start`, the first one's place, `num_calls` and `batch_size`; texts
    follow each other and begin anew behind the last one. `with_answers` asks for the answers too. A line that goes out
    has `seconds` of each call, `busy_seconds`, all that the process used of the processor, on all cores,
    `peak_memory_bytes`, and `label_id` and `probabilities` if asked for.
    """
    say(out, {})
    for line in sys.stdin:
        job = json.loads(line)
        known, size = texts[job["name"]], job["batch_size"]
        seconds, answers, busy = [], [], time.process_time()
        for call in range(job["num_calls"]):
            first = job["start"] + call * size
            batch = [known[place % len(known)] for place in range(first, first + size)]
            started = time.perf_counter()
            found = answer(batch)
            seconds.append(time.perf_counter() - started)
            if job.get("with_answers"):
                answers.append(found)
        said = {"seconds": seconds, "busy_seconds": time.process_time() - busy}
        said["peak_memory_bytes"] = memory_bytes("self", "VmHWM")
        for name in ("label_id", "probabilities") if answers else ():
            said[name] = [row for found in answers for row in found[name].tolist()]
        say(out, said)
