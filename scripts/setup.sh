#!/usr/bin/env bash
# Make .venv, install the locked dependencies with their hashes, build the kernels. Called by the Makefile.
#   PYTHON             the interpreter to use (default: the first of python3, python3.14 ... python3.11 that is new enough)
#   BATLAB_INSTALLER   "uv" or "pip"; default: uv where it is there or can be had, else pip
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'batlab setup: %s\n' "$*" >&2; }
new_enough() { command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if new_enough "$candidate"; then command -v "$candidate"; return; fi
    done
    say "needs Python 3.11 or newer, found $(python3 --version 2>&1 || true); install one, or name it: make setup PYTHON=/path/to/python3.12"
    exit 1
}

# Debian and Ubuntu ship Python without its headers and without venv: as root get them, else say how.
complete_python() {
    local missing=()
    "$1" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing+=(python3-dev)
    command -v "${CC:-cc}" >/dev/null 2>&1 || missing+=(gcc libc6-dev)
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing[*]} with apt-get"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        say "this Python lacks ${missing[*]}; type: sudo apt-get install ${missing[*]}"
        exit 1
    fi
}

python=$(find_python)
complete_python "$python"
export UV_PYTHON_DOWNLOADS=never

uv=""
if [ "${BATLAB_INSTALLER:-uv}" = uv ]; then uv=$(command -v uv || true); fi
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    rm -rf .venv
    "$python" -m venv .venv
fi
if [ -z "$uv" ] && [ "${BATLAB_INSTALLER:-uv}" = uv ]; then
    if .venv/bin/python -m pip install --quiet --disable-pip-version-check uv 2>/dev/null; then uv=.venv/bin/uv; fi
fi

if [ -n "$uv" ]; then
    say "installing the locked dependencies with uv"
    # Compiled once here: where Python may not write .pyc files (containers say so) each process would spend 10 s on it.
    "$uv" pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes -r requirements.lock
    say "building the kernels"
    "$uv" pip install --quiet --python .venv/bin/python --no-build-isolation --no-deps -e .
else
    say "installing the locked dependencies with pip (a minute or two)"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    say "building the kernels"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
fi

.venv/bin/python -m compileall -q batlab

# An editable install lays down no data files: the Jupyter server finds our extension here.
mkdir -p .venv/etc/jupyter/jupyter_server_config.d
cp jupyter/batlab.json .venv/etc/jupyter/jupyter_server_config.d/batlab.json
# JupyterLab's question about its news would cover the first figure.
mkdir -p .venv/etc/jupyter/labconfig
printf '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}\n' \
    >.venv/etc/jupyter/labconfig/page_config.json
touch .venv/.ready
say "ready: source .venv/bin/activate"
