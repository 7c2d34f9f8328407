"""Run `tfbert pretrain`."""

from tfbert.commands import pretrain

if __name__ == "__main__":
    pretrain.run()
