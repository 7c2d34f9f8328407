"""Run `tfbert check`."""

from tfbert.commands import check

if __name__ == "__main__":
    check.run()
