"""Export a finished run as the next version of a SavedModel and verify it in a fresh process, or export another format.

Other formats are the model for PyTorch, the index for FAISS, and the model for LiteRT. A fine-tuned BERT in Hugging
Face's layout is exported like a run.
With --deploy, also write the files that deploy the new or an existing version in production.
"""

import argparse
from pathlib import Path

from tfbert.commands import program
from tfbert.files import REPORT, check_name


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    run_help = (
        "directory of a finished run, or a fine-tuned Hugging Face model (a directory or hf://owner/name); also an "
        "encoder for --huggingface, or a SavedModel for --deploy"
    )
    parser.add_argument("run", metavar="RUN", help=run_help)
    parser.add_argument("--name", help="name of the model in saved_models/ (default: that of the data or directory)")
    parser.add_argument("--task", help="task of a Hugging Face model (default: derived from its config)")
    parser.add_argument("--pairs", action="store_true", help="the Hugging Face model reads pairs of texts")
    precision_help = "dtype of weight matrices: float32 (default), or bfloat16 for processors that support it"
    parser.add_argument("--precision", metavar="DTYPE", help=precision_help)
    parser.add_argument(
        "--no-explanations", action="store_true", help="leave out the signature explain, for a smaller graph"
    )
    parser.add_argument("--vectors", metavar="DIR", type=Path, help="write the index of a matching model for FAISS")
    parser.add_argument("--huggingface", metavar="DIR", type=Path, help="write the model, or an encoder, for PyTorch")
    parser.add_argument("--litert", metavar="DIR", type=Path, help="write a LiteRT model with 8-bit weights")
    parser.add_argument("--deploy", metavar="DIR", type=Path, help="write files for Docker, Kubernetes, proxy, alerts")
    parser.add_argument("--cores", metavar="N", type=int, help="CPU cores per server for --deploy (default: 4)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Export, and print where to.

    Raises:
        ValueError: options cannot be combined, or the run cannot be exported.
    """
    from tfbert.huggingface import exporting, importing
    from tfbert.serving import litert, vectors

    run_dir = Path(options.run)
    other_formats = [name for name in ("huggingface", "vectors", "litert") if getattr(options, name)]
    _check_combination(options, other_formats)
    is_foreign = not other_formats and importing.is_huggingface(options.run)
    if not is_foreign and (options.task or options.pairs):
        name = "--task" if options.task else "--pairs"
        raise ValueError(f"{name} applies to a SavedModel of a Hugging Face model; expected one, not {options.run}")
    if options.huggingface:
        exported = exporting.export_huggingface(options.run, options.huggingface)
        print("\n".join([f"{options.huggingface}  ({exported.describe()})", *exported.lines()]))
    elif options.vectors:
        print(f"{options.vectors}  ({vectors.export_vectors(run_dir, options.vectors):,} vectors)")
    elif options.litert:
        print(f"{options.litert}  ({litert.describe(litert.export_litert(run_dir, options.litert))})")
    elif options.deploy:
        _deploy(options, is_foreign)
    else:
        _export(options, is_foreign)


def _check_combination(options: argparse.Namespace, other_formats: list[str]) -> None:
    """Reject options that would have no effect."""
    targets = [*other_formats, *(["deploy"] if options.deploy else [])]
    if len(targets) > 1:
        raise ValueError(f"--{targets[0]} and --{targets[1]}: expected one of them")
    for name in ("precision", "name", "no_explanations"):
        if getattr(options, name) not in (None, False) and other_formats:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} applies to a new SavedModel; it cannot be combined with --{other_formats[0]}")
    if options.cores is not None and not options.deploy:
        raise ValueError("--cores applies to a deployment; add --deploy DIR")


def _deploy(options: argparse.Namespace, is_foreign: bool) -> None:
    from tfbert.serving import deployment, saved_predictor

    settings = deployment.Deployment(**({} if options.cores is None else {"cores": options.cores}))
    if is_foreign or (Path(options.run) / REPORT).exists():
        deployment.check(_name(options, is_foreign), options.deploy, settings)
        version_dir = _export(options, is_foreign)
    elif given := [n for n in ("precision", "name", "no_explanations") if getattr(options, n) not in (None, False)]:
        name = f"--{given[0].replace('_', '-')}"
        raise ValueError(f"{name} applies to a new SavedModel; expected a run, not {options.run}")
    else:
        version_dir = saved_predictor.find_version(Path(options.run))
    written = deployment.render(version_dir, options.deploy, settings)
    print(f"{options.deploy}  ({len(written)} files; start with {options.deploy / 'README.md'})")


def _export(options: argparse.Namespace, is_foreign: bool) -> Path:
    from tfbert.huggingface import importing
    from tfbert.serving import export_run

    model_dir, explains = program.SAVED_MODELS_DIR / _name(options, is_foreign), not options.no_explanations
    if is_foreign:
        if options.precision is not None:
            raise ValueError("--precision: a Hugging Face model has no data to measure its effect on; expected a run")
        model = importing.read_model(options.run, options.task)
        version_dir, checked = export_run.export_model(model.load(options.pairs), model_dir, explains=explains)
    else:
        precision = options.precision or "float32"
        version_dir, checked = export_run.export_run(Path(options.run), model_dir, precision, explains=explains)
    print(version_dir)
    print(export_run.describe(checked))
    return version_dir


def _name(options: argparse.Namespace, is_foreign: bool) -> str:
    """Return the name of the SavedModel: --name, or that of the data or of the Hugging Face directory."""
    from tfbert.serving import export_run

    if options.name:
        return options.name
    if is_foreign:
        return check_name(Path(options.run).resolve().name, f"{options.run}: use --name: its name")
    return export_run.default_name(Path(options.run))


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("export", build_parser, main)
