"""The command line: `python -m jobs.simulator --port 8790 --data some/directory`."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from .faults import FaultQueue
from .finishing import Finisher
from .knobs import Knobs
from .server import SimulatorServer
from .store import Store

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop."""
    options = _parser().parse_args(arguments)
    # Held back before the first thread starts, so that the wait below is where they arrive.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    knobs = Knobs()
    store = Store(options.data, knobs, seconds=options.seconds, keep_ids=options.faults)
    finisher = Finisher(store, knobs, failures=options.failures == "life")
    try:
        server = SimulatorServer(
            (options.host, options.port),
            store=store,
            finisher=finisher,
            knobs=knobs,
            faults=FaultQueue(knobs) if options.faults else None,
            instant=options.seconds == 0,
            verbose=options.verbose,
        )
    except OSError as error:
        store.close()
        sys.stderr.write(
            f"simulator: cannot listen on {options.host}:{options.port}: {error.strerror}\n"
        )
        return 1
    finisher.start()
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    sys.stdout.write(f"simulator listening on http://{server.server_name}:{server.server_port}\n")
    sys.stdout.flush()
    signal.sigwait(_STOP_SIGNALS)
    finisher.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.simulator",
        description="A pretend provider: the Message Batches API with made-up answers.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8790, help="0 picks a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="directory for its batches and results"
    )
    parser.add_argument(
        "--seconds",
        type=_duration,
        default=6.0,
        help="how long a batch takes, and a fifth more for each at work (default: %(default)s)",
    )
    parser.add_argument(
        "--failures",
        choices=("life", "none"),
        default="life",
        help="whether about 13 rows in 1,000 fail, as they do in life (default: %(default)s)",
    )
    parser.add_argument(
        "--faults", action="store_true", help="let tests order network and server faults"
    )
    parser.add_argument("--verbose", action="store_true", help="write a line for each request")
    return parser


def _duration(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("must be between 0 and 86400")
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
