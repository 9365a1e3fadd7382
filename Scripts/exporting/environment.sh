# Sourced by the scripts that exchange models with other programs: sets `python` to an interpreter
# that has the packages of requirements.txt, in the virtual environment .venv-export of the
# repository, which is made where it is missing. The working directory stays: paths are the user's.

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$repository/.venv-export/bin/python"
requirements="$repository/Scripts/exporting/requirements.txt"
if ! cmp -s "$requirements" "$repository/.venv-export/installed.txt"; then
  echo "making .venv-export (PyTorch for the CPU and ONNX Runtime, some 300 MB to fetch)" >&2
  base="$(command -v python3.11 || command -v python3)" || {
    echo "python 3 is missing" >&2
    exit 69
  }
  "$base" -m venv "$repository/.venv-export"
  # The build for the CPU has an index of its own; where that cannot be reached, the default serves.
  "$python" -m pip install --quiet --retries 0 --no-deps \
    --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' "$requirements")" \
    >/dev/null 2>&1 || true
  "$python" -m pip install --quiet -r "$requirements" >&2
  # Written last, so that an interrupted installation is taken up again.
  cp "$requirements" "$repository/.venv-export/installed.txt"
fi
