"""Run `tfbert list`."""

from tfbert.commands import list

if __name__ == "__main__":
    list.run()
