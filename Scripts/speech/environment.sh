# Sourced by the scripts that make speech data: sets `repository`, and `python` to an interpreter that has the packages of requirements.txt,
# in the virtual environment .venv-speech, which is made where it is missing. SPEECH_PYTHON names another interpreter that has them already.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if [[ -n "${SPEECH_PYTHON:-}" ]]; then
  python="$SPEECH_PYTHON"
else
  python="$repository/.venv-speech/bin/python"
  requirements="$repository/Scripts/speech/requirements.txt"
  installed="$repository/.venv-speech/installed.txt"
  if ! cmp -s "$requirements" "$installed"; then
    echo "making .venv-speech (about 80 MB to fetch)" >&2
    base="$(command -v python3.11 || command -v python3)" || { echo "python 3 is missing" >&2; exit 69; }
    "$base" -m venv "$repository/.venv-speech" || { echo "python's venv is missing: on Debian, the package python3-venv" >&2; exit 69; }
    "$python" -m pip install --quiet -r "$requirements" >&2 || { echo "pip could not install $requirements" >&2; exit 69; }
    # Written last, so that an interrupted installation is taken up again.
    cp "$requirements" "$installed"
  fi
fi
