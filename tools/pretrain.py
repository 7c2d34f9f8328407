"""Pretrain BERT on text, from an existing encoder or from scratch; the result is an encoder for train."""

from tfbert.commands import pretrain

if __name__ == "__main__":
    pretrain.run()
