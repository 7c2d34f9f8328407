"""Run `tfbert compare`."""

from tfbert.commands import compare

if __name__ == "__main__":
    compare.run()
