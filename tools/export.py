"""Export a finished run as the next version of a SavedModel, verified in a fresh process, or its encoder alone."""

import argparse
from pathlib import Path

import common


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="export", description=__doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a finished run; --huggingface: or encoder")
    parser.add_argument("--name", help="of the model in saved_models/ (default: from the data's name)")
    parser.add_argument("--vectors", metavar="DIR", type=Path, help="write the index of matching for FAISS instead")
    parser.add_argument("--huggingface", metavar="DIR", type=Path, help="write the encoder for PyTorch instead")
    return parser


def main(options: argparse.Namespace) -> None:
    """Export and say where to."""
    from tfbert.serving import deploy, encoders, vectors

    if options.huggingface:
        facts = encoders.export_huggingface(str(options.run), options.huggingface).facts
        print(f"{options.huggingface}  ({facts['num_layers']} layers, hidden size {facts['hidden_dim']})")
        return
    if options.vectors:
        number = vectors.export_vectors(options.run, options.vectors)
        print(f"{options.vectors}  ({number:,} vectors)")
        return
    name = options.name or deploy.default_name(options.run)
    version_dir, checked = deploy.export_run(options.run, common.SAVED_MODELS_DIR / name)
    print(version_dir)
    print(
        f"equal to the trained model on {checked['num_items']} requests (largest difference "
        f"{checked['max_difference']:.1e}); loads in TensorFlow Serving {checked['oldest_serving_release']} and later "
        "as far as its ops tell"
    )


if __name__ == "__main__":
    common.run(main, build_parser())
