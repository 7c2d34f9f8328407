"""Export a finished run as the next version of a SavedModel, verified in a fresh process, or in another form.

Other forms are its encoder for PyTorch, its index for FAISS, and all of it for LiteRT.
With --deploy, what puts a model into production is written too: of the new version, or of one that is there already.
"""

import argparse
from pathlib import Path

import common


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="export", description=__doc__)
    what = "directory of a finished run; for --huggingface also an encoder, for --deploy also a SavedModel"
    parser.add_argument("run", metavar="RUN", type=Path, help=what)
    parser.add_argument("--name", help="of the model in saved_models/ (default: from the data's name)")
    narrower = "of the encoder's matrices: float32 (default), or bfloat16 where the server's processor multiplies it"
    parser.add_argument("--precision", metavar="NAME", help=narrower)
    parser.add_argument("--vectors", metavar="DIR", type=Path, help="write the index of matching for FAISS instead")
    parser.add_argument("--huggingface", metavar="DIR", type=Path, help="write the encoder for PyTorch instead")
    parser.add_argument("--litert", metavar="DIR", type=Path, help="write 8-bit weights for LiteRT on devices instead")
    parser.add_argument("--deploy", metavar="DIR", type=Path, help="render Docker, Kubernetes, proxy, alerts into DIR")
    parser.add_argument("--cores", metavar="N", type=int, help="of one server, for --deploy (default: 4)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Export and say where to."""
    from tfbert.serving import encoders, litert, vectors

    others = [form for form in ("huggingface", "vectors", "litert") if getattr(options, form)]
    if options.precision is not None and others:
        raise ValueError(f"--precision is of a new SavedModel; wanted it without --{others[0]}")
    if options.huggingface:
        spec = encoders.export_huggingface(str(options.run), options.huggingface).spec
        print(f"{options.huggingface}  ({spec.num_layers} layers, hidden size {spec.hidden_dim})")
    elif options.vectors:
        number = vectors.export_vectors(options.run, options.vectors)
        print(f"{options.vectors}  ({number:,} vectors)")
    elif options.litert:
        print(f"{options.litert}  ({litert.summary(litert.export_litert(options.run, options.litert))})")
    elif options.deploy:
        _deploy(options)
    elif options.cores is not None:
        raise ValueError("--cores says how to deploy; wanted --deploy DIR with it")
    else:
        _export(options.run, options.name, options.precision)


def _deploy(options: argparse.Namespace) -> None:
    from tfbert.serving import deployment, publish, saved_predictor

    wanted = deployment.Deployment(**({} if options.cores is None else {"cores": options.cores}))
    if (options.run / "report.json").exists():
        name = options.name or publish.default_name(options.run)
        deployment.check(name, options.deploy, wanted)
        version_dir = _export(options.run, name, options.precision)
    elif options.precision is not None:
        raise ValueError(f"--precision is of a new SavedModel; wanted a run with it, not {options.run}")
    else:
        version_dir = saved_predictor.find_version(options.run)
    written = deployment.render(version_dir, common.DEPLOY_DIR, options.deploy, wanted)
    print(f"{options.deploy}  ({len(written)} files; start with {options.deploy / 'README.md'})")


def _export(run_dir: Path, name: str | None, precision: str | None) -> Path:
    from tfbert.serving import publish

    model_dir = common.SAVED_MODELS_DIR / (name or publish.default_name(run_dir))
    version_dir, checked = publish.export_run(run_dir, model_dir, precision or "float32")
    print(version_dir)
    print(publish.said(checked))
    return version_dir


if __name__ == "__main__":
    common.run(main, build_parser())
