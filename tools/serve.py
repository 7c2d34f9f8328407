"""Run `tfbert serve`."""

from tfbert.commands import serve

if __name__ == "__main__":
    serve.run()
