"""What workers have in common, in plain Python: they read a job, answer JSON lines, and count their memory."""

import json
import os
import sys
import time
from pathlib import Path


def read_job():
    """Return the job whose path is the first argument, and a stream for the answers.

    Libraries may print to standard output, so that becomes standard error.
    """
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), out


def write_line(out, values):
    """Write a line of JSON at once."""
    out.write(json.dumps(values) + "\n")
    out.flush()


def peak_memory_bytes():
    """Return the peak of this process's resident memory.

    `getrusage` would not do: a child process begins with the peak of its parent.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def predict_lines(predict, texts, out):
    """Predict until standard input ends.

    Args:
        predict: from a list of texts to a dict of arrays, texts first, with `label_id` and `probabilities`.
        texts: lists of texts by name.
        out: stream for the answers.

    An input line has `name` of the texts, `start`, the place of the first one, `num_calls` and `batch_size`; the texts
    are a ring. An output line has `seconds` of each call, `busy_seconds`, the processor time on all cores, and
    `peak_memory_bytes`; with `with_outputs` also `label_id` and `probabilities`.
    """
    write_line(out, {})
    for line in sys.stdin:
        job = json.loads(line)
        ring, size = texts[job["name"]], job["batch_size"]
        seconds, outputs, busy = [], [], time.process_time()
        for call in range(job["num_calls"]):
            first = job["start"] + call * size
            batch = [ring[place % len(ring)] for place in range(first, first + size)]
            started = time.perf_counter()
            outputs.append(predict(batch))
            seconds.append(time.perf_counter() - started)
        answer = {"seconds": seconds, "busy_seconds": time.process_time() - busy}
        answer["peak_memory_bytes"] = peak_memory_bytes()
        for name in ("label_id", "probabilities") if job.get("with_outputs") else ():
            answer[name] = [row for output in outputs for row in output[name].tolist()]
        write_line(out, answer)
