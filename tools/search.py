"""Run `tfbert search`."""

from tfbert.commands import search

if __name__ == "__main__":
    search.run()
