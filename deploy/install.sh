#!/bin/sh
# Install batchsite into a folder, from the source that this script is in: the code, and a virtual
# environment with what it needs. The Dockerfile runs it; run it yourself for a service.
#
#   deploy/install.sh [FOLDER]     default: /opt/batchsite
#
# For a new version, stop the site, run this again, and then “FOLDER/entrypoint.sh upgrade DIR”. It
# needs Python 3.11 or later with venv (set PYTHON to choose one) and changes nothing outside FOLDER.
# Data stay where they are.
set -eu

folder=${1:-/opt/batchsite}
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-python3}

if ! "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Python 3.11 or later with venv was not found as “$python”. Debian: apt-get install python3-venv" >&2
    exit 1
fi
case $folder in
    /*) ;;
    *) folder=$PWD/$folder ;;
esac
if [ "$folder" = "$source" ]; then
    echo "Give another folder than the source: $folder" >&2
    exit 1
fi

umask 022 # who runs the site may read the code, and not change it
mkdir -p "$folder"
if [ -e "$folder/data" ]; then
    echo "$folder/data holds data. Give a folder for the code alone." >&2
    exit 1
fi

echo "Installing the requirements into $folder/.venv"
"$python" -m venv "$folder/.venv"
"$folder/.venv/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check \
    -r "$source/requirements.txt"

echo "Copying the code to $folder"
for part in batchsite jobs static templates docs manage.py requirements.txt README.md CHANGELOG.md SECURITY.md; do
    rm -rf "${folder:?}/$part"
    cp -R "$source/$part" "$folder/$part"
    chmod -R u=rwX,go=rX "$folder/$part" # whatever the source has, which may be for its owner only
done
cp "$source/deploy/entrypoint.sh" "$folder/entrypoint.sh"
chmod 755 "$folder/entrypoint.sh"
# Compiled once, here: the site may not write where its code is.
"$folder/.venv/bin/python" -m compileall -q "$folder/batchsite" "$folder/jobs" "$folder/manage.py"
# A Python in the home of root, as pyenv has it, would end a service with “Permission denied”.
if [ "$(id -u)" = 0 ] && ! "$folder/.venv/bin/python" -c '
import os, pathlib, sys
path = pathlib.Path(os.path.realpath(sys.executable))
sys.exit(not all(one.stat().st_mode & 1 for one in (path, *path.parents)))'; then
    echo "Warning: only root can run “$python”. For a service, run this again with PYTHON=/usr/bin/python3" >&2
fi
echo "Done. Start it with: $folder/entrypoint.sh serve"
