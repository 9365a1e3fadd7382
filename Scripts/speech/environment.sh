# Sourced by the scripts that make speech data: moves to the repository's root and sets `python` to an interpreter that has the
# packages of requirements.txt, in the virtual environment .venv-speech, which is made where it is missing.
# SPEECH_PYTHON names another interpreter that has them already.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ -n "${SPEECH_PYTHON:-}" ]]; then
  python="$SPEECH_PYTHON"
else
  python=.venv-speech/bin/python
  if ! cmp -s Scripts/speech/requirements.txt .venv-speech/installed.txt; then
    echo "making .venv-speech (about 80 MB to fetch)" >&2
    base="$(command -v python3.11 || command -v python3)" || { echo "python 3 is missing" >&2; exit 69; }
    "$base" -m venv .venv-speech || { echo "python's venv is missing: on Debian, the package python3-venv" >&2; exit 69; }
    "$python" -m pip install --quiet -r Scripts/speech/requirements.txt >&2 || exit 69
    # Written last, so that an interrupted installation is taken up again.
    cp Scripts/speech/requirements.txt .venv-speech/installed.txt
  fi
fi
