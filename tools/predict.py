"""Run `tfbert predict`."""

from tfbert.commands import predict

if __name__ == "__main__":
    predict.run()
