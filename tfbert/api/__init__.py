"""The Python API, whose public names `tfbert` exports."""
