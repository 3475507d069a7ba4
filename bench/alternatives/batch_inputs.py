"""What the engines of the batch bench share: their arguments, the files of the inputs, how they tell their time."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

# input -> its files; a table's are those of its newest version.
Inputs = Mapping[str, list[str]]

ANSWER = "answer"
_WINDOWS = 9


def answer_file(folder: Path, part: int = 0) -> Path:
    """Return where an answer, or a part of it, is to be written."""
    return folder / ANSWER / f"{part}.parquet"


def run_step(doc: str | None, steps: Mapping[str, Callable[[Inputs, Path], dict[str, int] | None]]) -> None:
    """Parse the arguments, run the step, and print how long it took, the start of the process left out."""
    options = argparse.ArgumentParser(description=doc)
    options.add_argument("step", choices=steps)
    options.add_argument("folder", type=Path, help="holds inputs.json, gets the answer")
    args = options.parse_args()
    inputs = json.loads((args.folder / "inputs.json").read_text())
    (args.folder / ANSWER).mkdir()
    seconds = []
    # A window is asked for again and again; what counts is not the first time.
    for _ in range(_WINDOWS if args.step == "window" else 1):
        begin = time.perf_counter()
        told = steps[args.step](inputs, args.folder)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": median(seconds), **(told or {})}))
