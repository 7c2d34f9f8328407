"""Export a finished run as the next version of a SavedModel and verify it in a fresh process, or export another format.

Other formats are the encoder for PyTorch, the index for FAISS, and the model for LiteRT.
With --deploy, also write the files that deploy the new or an existing version in production.
"""

from tfbert.commands import export

if __name__ == "__main__":
    export.run()
