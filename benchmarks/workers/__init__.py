"""Programs that benchmarks start as processes: `python -m benchmarks.workers.NAME JOB`, a file with JSON.

`peer_*` and `transformers_*` run in the environment of the other libraries, which has no tfbert.
"""
