"""What somebody would write without this product, as the yardstick of the benchmark: read the CSV,
make all requests, send them in batches of 9,000 through the client's `create`, ask each until it
has ended, and write the results. No checks, no safety.

`python -m tests.plain_script CSV OUTPUT` prints the seconds of its steps as JSON.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import anthropic

CHUNK = 9_000
PROMPT = "Classify the sentiment of this review as positive, negative or neutral:\n\n"


def main(source: Path, output: Path) -> None:
    client = anthropic.Anthropic()
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
    read = time.monotonic()
    for request in requests[:10]:
        params = request["params"]
        client.messages.count_tokens(model=params["model"], messages=params["messages"])
    counted = time.monotonic()
    pending = [
        client.messages.batches.create(requests=requests[begin : begin + CHUNK]).id
        for begin in range(0, len(requests), CHUNK)
    ]
    sent = time.monotonic()
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
    waited = time.monotonic()
    with output.open("w") as file:
        for batch_id in batch_ids:
            for result in client.messages.batches.results(batch_id):
                if result.result.type == "succeeded":
                    blocks = result.result.message.content
                    text = "".join(block.text for block in blocks if block.type == "text")
                    file.write(json.dumps({"id": result.custom_id, "answer": text}) + "\n")
    done = time.monotonic()
    steps = {
        "read": read - started,
        "price": counted - read,
        "send": sent - counted,
        "wait": waited - sent,
        "results": done - waited,
        "all": done - started,
        "rows": len(requests),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
