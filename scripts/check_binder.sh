#!/usr/bin/env bash
# Do what repo2docker does with binder/, in a clean clone and a clean environment; the lessons must pass there.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet . "$work/repo"
cd "$work/repo"
if [ "$(id -u)" = 0 ]; then
    xargs -a binder/apt.txt dpkg -s >/dev/null 2>&1 || { apt-get update -qq; xargs -a binder/apt.txt apt-get install -y -qq; }
fi
python3 -m venv "$work/env"
export PATH="$work/env/bin:$PATH" NB_PYTHON_PREFIX="$work/env"
uv=$(command -v uv || true)
if [ -n "$uv" ]; then uv pip install --quiet --python "$work/env/bin/python" -r binder/requirements.txt
else pip install --quiet -r binder/requirements.txt; fi
bash binder/postBuild
pip --version >/dev/null
bash binder/start jupyter lab --version
python -m pip install --quiet "pytest>=8.3" "nbval>=0.11"
cd "$work/repo" && bash binder/start python -m pytest --nbval-lax -p no:cacheprovider -p no:doctest -W default -c /dev/null --rootdir . notebooks
echo "binder/ works"
