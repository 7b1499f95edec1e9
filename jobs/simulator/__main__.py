"""The command line: `python -m jobs.simulator --port 8790 --data some/directory`."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from .finishing import Finisher
from .server import Handler, SimulatorServer
from .store import Store

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop."""
    options = make_parser("python -m jobs.simulator").parse_args(arguments)
    return serve(options, make_server)


def make_parser(program: str) -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog=program,
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
        default=3.0,
        help="how long a batch takes, and a fifth more for each at work (default: %(default)s)",
    )
    parser.add_argument(
        "--token-file", type=Path, help="file with the only key that is accepted (default: any)"
    )
    parser.add_argument("--verbose", action="store_true", help="write a line for each request")
    return parser


def make_server(options: argparse.Namespace) -> SimulatorServer:
    """The server that these options ask for. `OSError` if it cannot listen."""
    store = Store(options.data, seconds=options.seconds)
    try:
        return SimulatorServer(
            (options.host, options.port),
            Handler,
            store=store,
            finisher=Finisher(store),
            verbose=options.verbose,
            token=options.token_file.read_text() if options.token_file else "",
        )
    except OSError:
        store.close()
        raise


def serve(
    options: argparse.Namespace, make_server: Callable[[argparse.Namespace], SimulatorServer]
) -> int:
    """Run the server until a signal says stop. 1 if it cannot listen."""
    # Held back before the first thread starts, so that the wait below is where they arrive.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        server = make_server(options)
    except OSError as error:
        sys.stderr.write(
            f"simulator: cannot listen on {options.host}:{options.port}: {error.strerror}\n"
        )
        return 1
    server.finisher.start()
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    sys.stdout.write(f"simulator listening on http://{server.server_name}:{server.server_port}\n")
    sys.stdout.flush()
    signal.sigwait(_STOP_SIGNALS)
    server.finisher.stop()
    return 0


def _duration(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("must be between 0 and 86400")
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
