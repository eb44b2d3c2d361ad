"""`python -m training`: fetch, tokenizer, vae, base, refiner, decoder, tiny, judge, export, evaluate; each resumes."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from training.config import Config

STAGES = ("fetch", "tokenizer", "vae", "base", "refiner", "decoder", "tiny", "judge", "export", "evaluate")
REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the chosen stages in order."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"some of: {', '.join(STAGES)} (default: all)")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "training" / "work", help="checkpoints and data")
    parser.add_argument("--model", type=Path, default=REPOSITORY / "models" / "demo", help="what is exported")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--set", action="append", default=[], metavar="section.field=value", dest="assignments")
    arguments = parser.parse_args()
    if unknown := set(arguments.stages) - set(STAGES):
        parser.error(f"unknown stage {sorted(unknown)}, expected some of {', '.join(STAGES)}")
    config = Config()
    for assignment in arguments.assignments:
        try:
            config.override(assignment)
        except ValueError as error:
            parser.error(str(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for stage in STAGES:
        if not arguments.stages or stage in arguments.stages:
            run_stage(stage, config, arguments.work, arguments.model, torch.device(arguments.device))


def run_stage(stage: str, config: Config, work: Path, model: Path, device: torch.device) -> None:
    """Run one stage; imports are local, so that a stage needs only its own libraries."""
    if stage == "fetch":
        from training.fetch import fetch

        fetch(config.data, work / "data")
    elif stage == "tokenizer":
        from training.tokenizer import train_tokenizers

        train_tokenizers(config, work)
    elif stage == "vae":
        from training.vae import train_vae

        train_vae(config, work, device)
    elif stage == "base":
        from training.base import train_base

        train_base(config, work, device)
    elif stage == "refiner":
        from training.refiner import train_refiner

        train_refiner(config, work, device)
    elif stage == "decoder":
        from training.vae import train_decoder

        train_decoder(config, work, device)
    elif stage == "tiny":
        from training.tiny import train_tiny

        train_tiny(config, work, device)
    elif stage == "judge":
        from training.judge import train_judge

        train_judge(config, work)
    elif stage == "export":
        from training.export import export_model

        export_model(config, work, model)
    elif stage == "evaluate":
        from training.evaluate import evaluate

        evaluate(config, work, model, device)


if __name__ == "__main__":
    main()
