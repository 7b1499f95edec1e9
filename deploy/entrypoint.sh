#!/bin/sh
# Run a command of manage.py as the site does: `entrypoint.sh serve`, `entrypoint.sh backup /backup`.
# What it writes is for its own user only.
set -eu
umask 077
cd "$(dirname "$0")"
exec .venv/bin/python manage.py "$@"
