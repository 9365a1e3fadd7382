# Sourced by the scripts that take data from other programs: sets `python` to an interpreter that has
# the packages of requirements.txt, in the virtual environment .venv-import of the repository, which
# is made where it is missing. The working directory stays: paths are the user's.

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$repository/.venv-import/bin/python"
requirements="$repository/Scripts/importing/requirements.txt"
if ! cmp -s "$requirements" "$repository/.venv-import/installed.txt"; then
  echo "making .venv-import (h5py, some 25 MB to fetch)" >&2
  base="$(command -v python3.11 || command -v python3)" || {
    echo "python 3 is missing" >&2
    exit 69
  }
  "$base" -m venv "$repository/.venv-import"
  "$python" -m pip install --quiet -r "$requirements" >&2
  # Written last, so that an interrupted installation is taken up again.
  cp "$requirements" "$repository/.venv-import/installed.txt"
fi
