"""What the alternatives share: their arguments, what a brand is, the list of 50, the marks of progress, the answer.

They run in environments of their own, without lambda_spark. An instant stays the text it came as: all events of the
topic have one form, so texts compare as times do, and none of the alternatives pays for parsing them.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path

LIMIT = 50

Work = Callable[[argparse.Namespace, int], None]


def run(doc: str | None, work: Work, is_one_process: bool = False) -> None:
    """Parse the arguments and do the work in as many processes as they say, each told its number."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scratch", type=Path, required=True, help="an empty folder, for state and the answer")
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
    """Return the brand that is compared, or None where there is none."""
    brand = text.strip().lower()
    return None if brand in ("", "unknown") else brand


def remember(brands: dict[str, str], brand: str, seen_at: str) -> None:
    """Keep the newest instant of each brand, and the 50 most recent brands, ties by name."""
    if seen_at > brands.get(brand, ""):
        brands[brand] = seen_at
        if len(brands) > LIMIT:
            oldest = min(brands.values())
            del brands[max(name for name, seen in brands.items() if seen == oldest)]


def progress(worker: int = 0, every: int = 10_000) -> Callable[[int], None]:
    """Return what counts events and says so on standard output now and then; told of 0 more, it says so at once."""
    done = said = 0

    def count(events: int) -> None:
        nonlocal done, said
        done += events
        if done >= said + every or not events:
            said = done
            # In one piece: another worker's line must not come between this one and its end.
            print(json.dumps({"at": time.time(), "done": done, "worker": worker}) + "\n", end="", flush=True)

    return count


def write_answer(folder: Path, lists: Mapping[str, Mapping[str, str]], worker: int = 0) -> None:
    """Write user_id -> {brand: instant}; this is not measured any more."""
    (folder / f"answer-{worker}.json").write_text(json.dumps(lists))
