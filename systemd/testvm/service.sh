#!/bin/bash
# service.sh: what run.sh runs in the guest, as root, to test SoulBox as a service: see service_test.go. SOULBOX_BOOT says
# which boot of the machine it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export SOULBOX_CI=1 SOULBOX_VM=1 # a test that skips fails; this is the test machine
cmp -s "$here/soulbox" /usr/local/bin/soulbox || install -m 755 "$here/soulbox" /usr/local/bin/soulbox
exec "$here/service.test" -test.v
