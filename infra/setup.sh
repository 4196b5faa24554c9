#!/usr/bin/env bash
# Sets up .venv at the repository's root, once. System packages come by apt where this runs as root; else the command is named.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$(date +%s)
python=${PYTHON:-python3}
needed=()
command -v "$python" >/dev/null || needed+=(python3)
"$python" -c 'import ensurepip, venv' 2>/dev/null || needed+=(python3-venv)
[ -x /usr/bin/chromium ] || needed+=(chromium)     # the console's and the report's tests drive it
[ -d /usr/lib/postgresql ] || needed+=(postgresql) # the catalog's tests run on it
command -v cc >/dev/null || needed+=(gcc libc6-dev) # a test builds the library that cuts and fails the spool's writes
if [ ${#needed[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then
        echo "set-up: system packages: ${needed[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${needed[@]}" >/dev/null
    else
        echo "set-up: these system packages are missing: ${needed[*]}" >&2
        echo "set-up: run: sudo apt-get install ${needed[*]}" >&2
        exit 1
    fi
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
install() { .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@" 2> >(grep -v "is ignored: it is neither" >&2); }
echo "set-up: Python packages into .venv (2 GB, a few minutes)"
install torch==2.13.0 # first: any looser requirement pulls gigabytes of CUDA
install --constraint constraints.txt --editable '.[demo,dev,docs]'
echo "set-up: the backbone is exported to ONNX, once"
.venv/bin/python -W ignore -c 'from training.trunk import float_trunk, prepared_trunks as p; p().mkdir(parents=True, exist_ok=True); float_trunk(p())' >/dev/null
echo "$(($(date +%s) - started))" >.venv/.setup-seconds
echo "set-up: done in $(cat .venv/.setup-seconds) s"
