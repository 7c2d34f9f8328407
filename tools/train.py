"""Run `tfbert train`."""

from tfbert.commands import train

if __name__ == "__main__":
    train.run()
