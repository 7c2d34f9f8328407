"""Programs that the serving tables start as processes, each with this folder as the first of its path.

`saved_model.py` and `load_client.py` are run by our Python; `peer_*.py` by the Python of the peers' environment, which
has no tfbert. What both have in common is `asking.py`, in plain Python.
"""
