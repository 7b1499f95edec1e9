"""The command line: `python -m tests.simulator --port 8790 --data some/directory`."""

import argparse
import sys
from collections.abc import Sequence

from jobs.simulator.__main__ import make_parser, serve

from .finishing import FaultFinisher
from .knobs import Knobs
from .server import FaultServer
from .store import FaultStore


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop."""
    parser = make_parser("python -m tests.simulator")
    parser.add_argument(
        "--failures",
        choices=("life", "none"),
        default="life",
        help="whether about 13 rows in 1,000 fail, as they do in life (default: %(default)s)",
    )
    return serve(parser.parse_args(arguments), make_server)


def make_server(options: argparse.Namespace) -> FaultServer:
    """The server that these options ask for. `OSError` if it cannot listen."""
    knobs = Knobs()
    store = FaultStore(options.data, knobs, seconds=options.seconds)
    try:
        return FaultServer(
            (options.host, options.port),
            store=store,
            finisher=FaultFinisher(store, knobs, failures=options.failures == "life"),
            knobs=knobs,
            instant=options.seconds == 0,
            verbose=options.verbose,
        )
    except OSError:
        store.close()
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
