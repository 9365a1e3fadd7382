# Sourced by the report's scripts: sets `python` to an interpreter that has the packages of requirements.txt, in the virtual environment
# .venv-report of the repository, which is made where it is missing. It does not change the working directory: paths are the user's.

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$repository/.venv-report/bin/python"
if ! cmp -s "$repository/Scripts/reporting/requirements.txt" "$repository/.venv-report/installed.txt"; then
  echo "making .venv-report (Altair and what it needs, some 100 MB to fetch)" >&2
  base="$(command -v python3.11 || command -v python3)" || { echo "python 3 is missing" >&2; exit 69; }
  "$base" -m venv "$repository/.venv-report"
  "$python" -m pip install --quiet -r "$repository/Scripts/reporting/requirements.txt" >&2
  # Written last, so that an interrupted installation is taken up again.
  cp "$repository/Scripts/reporting/requirements.txt" "$repository/.venv-report/installed.txt"
fi
