"""Run `tfbert export`."""

from tfbert.commands import export

if __name__ == "__main__":
    export.run()
