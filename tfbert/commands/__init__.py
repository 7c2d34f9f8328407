"""Commands of the command line: one module per command, run by `tfbert NAME` and by `tools/NAME.py`."""
