"""Check the data of a task without training, and print what training would print before it starts."""

from tfbert.commands import check

if __name__ == "__main__":
    check.run()
