# Sourced by the comparison scripts: moves to the repository's root and sets `python` to an interpreter that has the
# packages of requirements.txt, in the virtual environment .venv-compare, which is made where it is missing.
# COMPARE_PYTHON names another interpreter that has them already.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ -n "${COMPARE_PYTHON:-}" ]]; then
  python="$COMPARE_PYTHON"
else
  python=.venv-compare/bin/python
  if ! cmp -s Scripts/frameworks/requirements.txt .venv-compare/installed.txt; then
    echo "making .venv-compare (PyTorch and JAX for the CPU, some 350 MB to fetch)" >&2
    base="$(command -v python3.11 || command -v python3)" || { echo "python 3 is missing" >&2; exit 69; }
    "$base" -m venv .venv-compare
    # The build for the CPU has an index of its own; where that cannot be reached, the default one serves.
    torch="$(grep '^torch==' Scripts/frameworks/requirements.txt)"
    "$python" -m pip install --quiet --retries 0 --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch" >/dev/null 2>&1 || true
    "$python" -m pip install --quiet -r Scripts/frameworks/requirements.txt >&2
    # Written last, so that an interrupted installation is taken up again.
    cp Scripts/frameworks/requirements.txt .venv-compare/installed.txt
  fi
fi
