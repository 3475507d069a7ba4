"""The shared part of the alternatives: options, brands, the list of 50, progress, answers, steps of the batch bench.

The alternatives run in separate environments, without lambda_spark. A time remains the text of its message: all events
of the topic have one format, so texts compare like times, and no alternative spends time on parsing them.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path
from statistics import median

LIMIT = 50
ANSWER = "answer"
_WINDOWS = 9

# Input -> its files; for a table those of its newest version.
Inputs = Mapping[str, list[str]]
Work = Callable[[argparse.Namespace, int], None]


def run(doc: str | None, work: Work, is_one_process: bool = False) -> None:
    """Parse the options and run `work` in the given number of processes, each with its own number."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scratch", type=Path, required=True, help="an empty folder for state and the answer")
    parser.add_argument("--jar", type=Path, help="Flink's Kafka connector")
    args = parser.parse_args()
    if args.workers == 1 or is_one_process:
        work(args, 0)
        return
    processes = [get_context("spawn").Process(target=work, args=(args, number)) for number in range(args.workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def brand_of(text: str) -> str | None:
    """Return the brand in the form that is compared, None if there is none."""
    brand = text.strip().lower()
    return None if brand in ("", "unknown") else brand


def remember(brands: dict[str, str], brand: str, seen_at: str) -> None:
    """Update a user's brands: the newest time of each, and the 50 most recent brands, ties by name."""
    if seen_at > brands.get(brand, ""):
        brands[brand] = seen_at
        if len(brands) > LIMIT:
            oldest = min(brands.values())
            del brands[max(name for name, seen in brands.items() if seen == oldest)]


def progress(worker: int = 0, every: int = 10_000) -> Callable[[int], None]:
    """Return a function that counts events and prints the progress every `every` events, and at once for 0 events."""
    done = printed = 0

    def count(events: int) -> None:
        nonlocal done, printed
        done += events
        if done >= printed + every or not events:
            printed = done
            # In one write: the line of another worker must not split this one.
            print(json.dumps({"at": time.time(), "done": done, "worker": worker}) + "\n", end="", flush=True)

    return count


def write_answer(folder: Path, lists: Mapping[str, Mapping[str, str]], worker: int = 0) -> None:
    """Write user_id -> {brand: time}; this is no longer measured."""
    (folder / f"answer-{worker}.json").write_text(json.dumps(lists))


def answer_file(folder: Path, part: int = 0) -> Path:
    """Return the file for an answer, or for a part of it."""
    return folder / ANSWER / f"{part}.parquet"


def run_step(doc: str | None, steps: Mapping[str, Callable[[Inputs, Path], dict[str, int] | None]]) -> None:
    """Parse the options, run the step, and print its seconds as JSON, without the start of the process."""
    options = argparse.ArgumentParser(description=doc)
    options.add_argument("step", choices=steps)
    options.add_argument("folder", type=Path, help="contains inputs.json; the answer is written here")
    args = options.parse_args()
    inputs = json.loads((args.folder / "inputs.json").read_text())
    (args.folder / ANSWER).mkdir()
    seconds = []
    # A window is requested again and again, so the first time doesn't count.
    for _ in range(_WINDOWS if args.step == "window" else 1):
        begin = time.perf_counter()
        figures = steps[args.step](inputs, args.folder)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": median(seconds), **(figures or {})}))
