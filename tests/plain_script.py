"""What somebody would write without this product, as the yardstick of the benchmark: read the CSV,
make all requests, send them in batches of 9,000 through the client's `create`, ask each until it
has ended, and write the results. No checks, no safety.

`python -m tests.plain_script CSV OUTPUT` prints the seconds of its steps as JSON, and under "cpu"
those of the processor.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import anthropic

CHUNK = 9_000
PROMPT = "Classify the sentiment of this review as positive, negative or neutral:\n\n"


def seconds_between(times: Sequence[float]) -> dict[str, float]:
    names = ("read", "price", "send", "wait", "results")
    steps = {name: end - begin for name, (begin, end) in zip(names, pairwise(times), strict=True)}
    return {**steps, "all": times[-1] - times[0]}


def main(source: Path, output: Path) -> None:
    client = anthropic.Anthropic()
    begun = time.process_time()  # with what Python and the package took to start
    started = time.monotonic()
    with source.open(newline="") as file:
        requests: list[Any] = [
            {
                "custom_id": f"review-{number}",
                "params": {
                    "model": "claude-haiku-5-5",
                    "max_tokens": 200,
                    "messages": [{"role": "user", "content": PROMPT + row["review"]}],
                },
            }
            for number, row in enumerate(csv.DictReader(file))
        ]
    read, read_cpu = time.monotonic(), time.process_time()
    for request in requests[:10]:
        params = request["params"]
        client.messages.count_tokens(model=params["model"], messages=params["messages"])
    counted, counted_cpu = time.monotonic(), time.process_time()
    pending = [
        client.messages.batches.create(requests=requests[begin : begin + CHUNK]).id
        for begin in range(0, len(requests), CHUNK)
    ]
    sent, sent_cpu = time.monotonic(), time.process_time()
    batch_ids = list(pending)
    while pending:
        ended = {
            batch_id
            for batch_id in pending
            if client.messages.batches.retrieve(batch_id).processing_status == "ended"
        }
        pending = [batch_id for batch_id in pending if batch_id not in ended]
        if pending:
            time.sleep(1)
    waited, waited_cpu = time.monotonic(), time.process_time()
    with output.open("w") as file:
        for batch_id in batch_ids:
            for result in client.messages.batches.results(batch_id):
                if result.result.type == "succeeded":
                    blocks = result.result.message.content
                    text = "".join(block.text for block in blocks if block.type == "text")
                    file.write(json.dumps({"id": result.custom_id, "answer": text}) + "\n")
    done, done_cpu = time.monotonic(), time.process_time()
    clock = (started, read, counted, sent, waited, done)
    cpu = (begun, read_cpu, counted_cpu, sent_cpu, waited_cpu, done_cpu)
    steps = {
        **seconds_between(clock),
        "cpu": {"start": begun, **seconds_between(cpu), "all": done_cpu},
        "rows": len(requests),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
