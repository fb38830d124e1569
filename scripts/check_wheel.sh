#!/usr/bin/env bash
# Install dist/*.whl into an empty environment outside the repository; import it and run the demo there.
set -euo pipefail
cd "$(dirname "$0")/.."
wheel=$(ls -t "$PWD"/dist/batlab-*.whl | head -n 1)
repository=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$repository/.venv/bin/python" -m venv "$work/venv"
# The lock's versions, without their hashes: pip takes a constraint file beside a wheel that has none.
sed -E '/^ +--hash/d; s/ *\\$//' requirements.lock > "$work/constraints.txt"
uv=$(command -v uv || ls .venv/bin/uv 2>/dev/null || true)
if [ -n "$uv" ]; then
    UV_PYTHON_DOWNLOADS=never "$uv" pip install --quiet --python "$work/venv/bin/python" -c "$work/constraints.txt" "$wheel"
else
    "$work/venv/bin/pip" install --quiet -c "$work/constraints.txt" "$wheel"
fi
cd "$work"
venv/bin/python - <<'PY'
import sys
import batlab
heavy = {"numpy", "bokeh", "xarray"} & sys.modules.keys()
assert not heavy, f"import batlab loaded {heavy}"
assert "venv" in batlab.__file__, batlab.__file__
PY
venv/bin/batlab demo "$work/demo"
ls -l "$work/demo"
echo "the wheel works outside the repository"
