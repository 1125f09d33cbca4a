#!/bin/bash
# vmtests.sh: what run.sh runs in the guest: every static test binary that lies beside this file, as the unprivileged
# user of a delegated unit. Exit code 0 only when all that were there passed, and the one of package cgroups was.
#
#   run.sh --share DIR -- /share/vmtests.sh [ARG...]      DIR: vmtests.sh cgroups.test [sandbox.test, soulbox]
#
# Each ARG is passed to every test binary. With SOULBOX_VM_COVER set, binaries built with -cover leave their counters in
# /out/<package>.cover (run.sh -e SOULBOX_VM_COVER=1 --out DIR).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export SOULBOX_CI=1 SOULBOX_VM=1 # a test that skips fails; this is the test machine
failed=0
[ -x "$here/cgroups.test" ] || { echo "vmtests: cgroups.test is missing" >&2; exit 2; }
for test in cgroups systemd sandbox; do
  [ -x "$here/$test.test" ] || continue
  echo "vmtests: $test"
  start=$SECONDS
  # In a writable directory: the share is the host's.
  work=$(mktemp -d) && cd "$work" || exit 2
  [ ! -d "$here/$test.testdata" ] || cp -r "$here/$test.testdata" "$work/testdata"
  "$here/$test.test" -test.v ${SOULBOX_VM_COVER:+"-test.coverprofile=/out/$test.cover"} "$@"
  code=$?
  cd / && rm -rf "$work"
  echo "vmtests: $test ended with $code after $((SECONDS - start)) s"
  [ $code = 0 ] || failed=$code
done
exit $failed
