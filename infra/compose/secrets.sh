#!/usr/bin/env bash
# Makes the secrets of compose.yaml, once: what is there stays. Run it as root, or as who runs the containers' daemon.
set -euo pipefail
folder="$(cd "$(dirname "$0")" && pwd)/secrets"
mkdir -p -m 700 "$folder"
make() {
    [ -e "$folder/$1" ] && return
    (umask 077 && printf '%s\n' "$2" >"$folder/$1")
    # Compose mounts the file as it is: the parts run as 10001 and must be able to read it.
    chown 10001:10001 "$folder/$1" 2>/dev/null || chmod 644 "$folder/$1"
}
random() { head -c 30 /dev/urandom | base64 | tr '+/' '-_'; }
make database-password "$(random)"
make bucket-access-key "ANDON$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n' | tr a-f A-F)"
make bucket-secret-key "$(random)"
echo "secrets in $folder"
