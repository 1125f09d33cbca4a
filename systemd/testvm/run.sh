#!/bin/bash
# run.sh: run a command as an unprivileged user in a delegated systemd user unit on cgroup v2, in a throw-away Linux.
#
#   run.sh [options] [--] CMD [ARG...]
#     --share DIR     host directory seen in the guest as /share, read-only in intent (default: the current one)
#     --out DIR       what the command leaves in the guest's /out is copied to DIR
#     -e K=V          environment of the command (repeatable)
#     --root          run CMD as root in a system unit instead of as the user in a user unit
#     --default-delegate  Debian's own delegation (memory, pids, cpu) instead of all controllers
#     --mem SIZE      guest memory (2G)
#     --timeout S     whole run in seconds, boot included (300)
#     --disk FILE     the guest's disk, kept: made from the image when missing, so that two runs with the same FILE
#                     are two boots of one machine. Each run ends like a power cut after a sync.
#     --console FILE  where the console of kernel and systemd goes (default: console.last in the cache)
#     --build-only    only fill the cache
#
# The exit code is CMD's; 124 on time-out; 125 when the guest gave none, with the end of its console on stderr; 2 for
# wrong usage. CMD's stdout and stderr both come out on stdout, as they are written.
# The cache is $SOULBOX_VM_CACHE (default ${XDG_CACHE_HOME:-$HOME/.cache}/soulbox/vm). Filling it needs root.
set -euo pipefail

HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
CACHE=${SOULBOX_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/soulbox/vm}

usage() { echo "run.sh: $*" >&2; sed -n '2,20s/^# \{0,1\}//p' "$0" >&2; exit 2; }
die() { echo "testvm: $*" >&2; exit 125; }

share=$PWD out='' mem=2G limit=300 console='' disk='' build_only='' as_root='' extra='' env=()
while [ $# -gt 0 ]; do
  case $1 in
    --share | --out | -e | --mem | --timeout | --disk | --console) [ $# -gt 1 ] || usage "$1 needs a value" ;;
  esac
  case $1 in
    --share) share=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    -e) env+=("$2"); shift 2 ;;
    --mem) mem=$2; shift 2 ;;
    --timeout) limit=$2; shift 2 ;;
    --disk) disk=$2; shift 2 ;;
    --console) console=$2; shift 2 ;;
    --root) as_root=1; shift ;;
    --default-delegate) extra=vm.defaultdelegate; shift ;;
    --build-only) build_only=1; shift ;;
    --) shift; break ;;
    -*) usage "unknown option $1" ;;
    *) break ;;
  esac
done
[ -n "$build_only" ] || [ $# -gt 0 ] || usage "no command"

image=$("$HERE/image.sh" "$CACHE")
[ -z "$build_only" ] || exit 0

[ -d "$share" ] || die "the directory to share does not exist: $share"
share=$(readlink -f "$share")
command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: apt-get install qemu-system-x86"
case $share in *,*) die "a directory with a comma in its name cannot be shared: $share" ;; esac

drive=$image/disk.img snapshot=on
if [ -n "$disk" ]; then
  if [ ! -e "$disk" ]; then # with a journal: this one lives through power cuts
    rm -f "$disk.new"
    cp --sparse=always "$image/disk.img" "$disk.new"
    tune2fs -J size=16 "$disk.new" >/dev/null
    mv "$disk.new" "$disk"
  fi
  drive=$(readlink -f "$disk") snapshot=off
  exec 8<"$drive"
  flock -n 8 || die "$disk is in use by another run"
fi

run=$(mktemp -d "${TMPDIR:-/tmp}/soulbox-vm.XXXXXX")
guest='' reader=''
cleanup() { # timeout passes the signal on to qemu
  [ -z "$guest" ] || { kill -TERM "$guest" && wait "$guest"; } 2>/dev/null || true
  [ -z "$reader" ] || kill "$reader" 2>/dev/null || true
  rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

mkdir "$run/ctl"
printf '%s\0' "$@" >"$run/ctl/cmd"
: >"$run/ctl/env"
[ ${#env[@]} -eq 0 ] || printf '%s\0' "${env[@]}" >"$run/ctl/env"
[ -z "$as_root" ] || touch "$run/ctl/asroot"
mkfifo "$run/port"
console=${console:-$CACHE/console.last}
[ -w "$(dirname "$console")" ] || console=$run/console # a cache that root filled

cat "$run/port" &
reader=$!
(
  exec 4>"$run/port" # so that the reader sees the end even when qemu never opens the port
  # Features that software emulation pays for dearly, or has wrong, are off; one never needs /dev/kvm.
  exec timeout -k 5 "$limit" qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=1024 -smp 2 -m "$mem" \
    -cpu max,la57=off,smap=off,smep=off,pcid=off,umip=off \
    -nodefaults -no-user-config -display none -no-reboot -kernel "$image/vmlinuz" -initrd "$image/initrd" \
    -append "console=ttyS0 mitigations=off panic=-1 quiet systemd.show_status=0 systemd.journald.forward_to_console=0 $extra" \
    -drive "file=$drive,if=virtio,format=raw,snapshot=$snapshot,cache=unsafe" \
    -virtfs "local,path=$run/ctl,mount_tag=ctl,security_model=none" \
    -virtfs "local,path=$share,mount_tag=share,security_model=none,multidevs=remap" \
    -serial "file:$console" -device virtio-serial-pci \
    -chardev "file,id=port,path=$run/port" -device virtserialport,chardev=port,nr=1,name=out
) </dev/null 2>"$run/qemu.err" &
guest=$!
code=0
wait "$guest" || code=$?
guest=''
wait "$reader" || true
reader=''

if [ "$code" = 124 ] || [ "$code" = 137 ]; then
  echo "testvm: the guest did not end within $limit s; the end of its console:" >&2
  tail -15 "$console" >&2
  exit 124
fi
[ ! -e "$run/ctl/journal" ] || [ ! -w "$CACHE" ] || cp "$run/ctl/journal" "$CACHE/journal.last"
if [ -n "$out" ]; then
  mkdir -p "$out"
  [ ! -e "$run/ctl/out.tar" ] || tar -C "$out" --no-same-owner -xf "$run/ctl/out.tar"
fi
if [ ! -s "$run/ctl/rc" ]; then
  echo "testvm: the guest gave no exit code (qemu ended with $code); the end of its console:" >&2
  { tail -25 "$console"; cat "$run/qemu.err"; } >&2 || true
  exit 125
fi
exit "$(cat "$run/ctl/rc")"
