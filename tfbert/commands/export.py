"""Export a finished run as the next version of a SavedModel and verify it in a fresh process, or export another format.

Other formats are the encoder for PyTorch, the index for FAISS, and the model for LiteRT.
With --deploy, also write the files that deploy the new or an existing version in production.
"""

import argparse
from pathlib import Path

from tfbert.commands import program
from tfbert.files import REPORT


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    run_help = "directory of a finished run; also an encoder for --huggingface, or a SavedModel for --deploy"
    parser.add_argument("run", metavar="RUN", type=Path, help=run_help)
    parser.add_argument("--name", help="name of the model in saved_models/ (default: the name of the data)")
    precision_help = "dtype of weight matrices: float32 (default), or bfloat16 for processors that support it"
    parser.add_argument("--precision", metavar="DTYPE", help=precision_help)
    parser.add_argument("--vectors", metavar="DIR", type=Path, help="write the index of a matching model for FAISS")
    parser.add_argument("--huggingface", metavar="DIR", type=Path, help="write the encoder for PyTorch")
    parser.add_argument("--litert", metavar="DIR", type=Path, help="write a LiteRT model with 8-bit weights")
    parser.add_argument("--deploy", metavar="DIR", type=Path, help="write files for Docker, Kubernetes, proxy, alerts")
    parser.add_argument("--cores", metavar="N", type=int, help="CPU cores per server for --deploy (default: 4)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Export, and print where to.

    Raises:
        ValueError: options cannot be combined, or the run cannot be exported.
    """
    from tfbert.serving import encoders, litert, vectors

    other_formats = [name for name in ("huggingface", "vectors", "litert") if getattr(options, name)]
    if options.precision is not None and other_formats:
        raise ValueError(f"--precision applies to a new SavedModel; it cannot be combined with --{other_formats[0]}")
    if options.huggingface:
        spec = encoders.export_huggingface(str(options.run), options.huggingface).spec
        print(f"{options.huggingface}  ({spec.num_layers} layers, hidden size {spec.hidden_dim})")
    elif options.vectors:
        print(f"{options.vectors}  ({vectors.export_vectors(options.run, options.vectors):,} vectors)")
    elif options.litert:
        print(f"{options.litert}  ({litert.describe(litert.export_litert(options.run, options.litert))})")
    elif options.deploy:
        _deploy(options)
    elif options.cores is not None:
        raise ValueError("--cores applies to a deployment; add --deploy DIR")
    else:
        _export(options.run, options.name, options.precision)


def _deploy(options: argparse.Namespace) -> None:
    from tfbert.serving import deployment, export_run, saved_predictor

    settings = deployment.Deployment(**({} if options.cores is None else {"cores": options.cores}))
    if (options.run / REPORT).exists():
        name = options.name or export_run.default_name(options.run)
        deployment.check(name, options.deploy, settings)
        version_dir = _export(options.run, name, options.precision)
    elif options.precision is not None:
        raise ValueError(f"--precision applies to a new SavedModel; expected a run, not {options.run}")
    else:
        version_dir = saved_predictor.find_version(options.run)
    written = deployment.render(version_dir, options.deploy, settings)
    print(f"{options.deploy}  ({len(written)} files; start with {options.deploy / 'README.md'})")


def _export(run_dir: Path, name: str | None, precision: str | None) -> Path:
    from tfbert.serving import export_run

    model_dir = program.SAVED_MODELS_DIR / (name or export_run.default_name(run_dir))
    version_dir, checked = export_run.export_run(run_dir, model_dir, precision or "float32")
    print(version_dir)
    print(export_run.describe(checked))
    return version_dir


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("export", build_parser, main)
