#!/bin/bash
# image.sh CACHE: make the test machine's disk, kernel and initramfs once, and print the directory that has them:
# disk.img, vmlinuz, initrd. It is named after what it is made of (this file, guest/ and initrd/) and appears in
# CACHE whole or not at all. Making it needs root, mmdebstrap, e2fsprogs and Debian's archive; using it does not.
set -euo pipefail
export LC_ALL=C

HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
CACHE=$1

RELEASE=bookworm # systemd 252, kernel 6.1: the oldest that SoulBox supports
PACKAGES=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,passwd,util-linux,uidmap,procps,kmod,iproute2
PACKAGES+=,ca-certificates,python3,gcc,libc6-dev,strace,jq,curl
BOOT="crc32c_generic ext4 virtio_pci virtio_blk virtio_console 9pnet_virtio 9p" # modules of the initramfs
MODULES="$BOOT crc32c_intel virtio_rng overlay tun fuse loop veth dummy binfmt_misc configfs autofs4"

die() { echo "testvm: $*" >&2; exit 125; }

# modules TREE VERSION NAME...: files of the modules and of what they depend on, in loading order.
modules() {
  local tree=$1 version=$2 name; shift 2
  for name in "$@"; do # a module that is built in, or unknown to this kernel, has no file
    chroot "$tree" modprobe -d /all -S "$version" --show-depends "$name" 2>/dev/null | awk '$1 == "insmod" {print $2}' || true
  done | awk '!seen[$0]++'
}

# root_tree TREE KERNEL: unpack Debian into TREE; the packages of its kernel land unpacked in KERNEL.
root_tree() {
  local tree=$1 kernel=$2 log=$2.log
  mkdir "$kernel"
  export SOULBOX_VM_KERNEL=$kernel
  # The kernel is fetched with the guest's own apt configuration, so the host's release does not matter.
  # shellcheck disable=SC2016 # the hook's own shell expands
  mmdebstrap --quiet --mode=root --variant=minbase --include="$PACKAGES" --dpkgopt=force-unsafe-io \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Sandbox::User "root"' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; cd "$SOULBOX_VM_KERNEL" &&
      p=$(apt-cache depends linux-image-amd64 | awk "/Depends: linux-image/ {print \$2; exit}") &&
      apt-get -qq download "$p" busybox-static' \
    "$RELEASE" "$tree" >"$log" 2>&1 </dev/null || { tail -20 "$log" >&2; die "mmdebstrap cannot make the guest's root file system"; }
  local deb
  for deb in "$kernel"/*.deb; do dpkg -x "$deb" "$kernel"; done
}

# configure TREE: the user, her subordinate ids, and the files under guest/.
configure() {
  local tree=$1 unit
  chroot "$tree" useradd -m -u 1000 -s /bin/bash soul
  echo soul:100000:65536 >"$tree/etc/subuid"
  echo soul:100000:65536 >"$tree/etc/subgid"
  mkdir -p "$tree/var/lib/systemd/linger" "$tree/share" "$tree/out" "$tree/vmctl"
  touch "$tree/var/lib/systemd/linger/soul"
  chroot "$tree" chown soul:soul /out
  echo soulvm >"$tree/etc/hostname"
  echo '127.0.0.1 localhost soulvm' >"$tree/etc/hosts"
  echo 0123456789abcdef0123456789abcdef >"$tree/etc/machine-id"
  : >"$tree/etc/fstab"
  : >"$tree/etc/resolv.conf"
  cp -r "$HERE/guest/." "$tree/"
  chmod 755 "$tree"/usr/local/sbin/vm* "$tree"/usr/local/bin/vmexec
  ln -sf /etc/systemd/system/vmtest.target "$tree/etc/systemd/system/default.target"
  for unit in systemd-timesyncd.service getty@tty1.service console-getty.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer modprobe@drm.service modprobe@efi_pstore.service \
    modprobe@dm_mod.service systemd-pstore.service systemd-update-utmp.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
  done
}

# install_modules TREE KERNEL INITRD: the modules the guest may want go to TREE, those it boots with to INITRD.
install_modules() {
  local tree=$1 kernel=$2 initrd=$3 version file dir
  version=$(basename "$kernel"/lib/modules/*)
  mkdir -p "$tree/all/lib/modules" "$tree/usr/lib/modules/$version" "$initrd"/{bin,dev,newroot,modules}
  cp -a "$kernel/lib/modules/$version" "$tree/all/lib/modules/"
  chroot "$tree" depmod -b /all "$version"
  # shellcheck disable=SC2086 # lists of names
  modules "$tree" "$version" $MODULES | while read -r file; do
    dir=$tree/usr/lib/modules/$version/$(dirname "${file#/all/lib/modules/"$version"/}")
    mkdir -p "$dir"
    cp "$tree$file" "$dir/"
  done
  # shellcheck disable=SC2086
  modules "$tree" "$version" $BOOT | while read -r file; do
    cp "$tree$file" "$initrd/modules/"
    basename "$file" >>"$initrd/modules.list"
  done
  cp "$tree/all/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$tree/usr/lib/modules/$version/"
  rm -rf "$tree/all"
  chroot "$tree" depmod "$version"
}

build() { # $1: the directory to fill
  local work=$1/work
  mkdir "$work"
  root_tree "$work/root" "$work/kernel"
  configure "$work/root"
  install_modules "$work/root" "$work/kernel" "$work/initrd"
  cp "$HERE/initrd/init" "$work/initrd/init"
  chmod 755 "$work/initrd/init"
  cp "$work"/kernel/bin/busybox "$work/initrd/bin/"
  (cd "$work/initrd" && find . | ./bin/busybox cpio -o -H newc 2>/dev/null) >"$1/initrd"
  cp "$work"/kernel/boot/vmlinuz-* "$1/vmlinuz"
  truncate -s 4G "$1/disk.img"
  mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=1 -d "$work/root" "$1/disk.img"
  rm -rf "$work"
}

key=$( (cd "$HERE" && cat image.sh && find guest initrd -type f | sort | xargs sha256sum) | sha256sum | cut -c1-16)
image=$CACHE/image-$key
mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock 9 # two runs that find no image make one
if [ ! -d "$image" ]; then
  [ "$(id -u)" = 0 ] || die "making the test machine's image needs root, once: sudo SOULBOX_VM_CACHE=$CACHE $HERE/run.sh --build-only"
  for tool in mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs; do
    command -v "${tool%:*}" >/dev/null || die "${tool%:*} is missing: apt-get install ${tool#*:}"
  done
  echo "testvm: making the test machine's image in $CACHE: a minute or more, once" >&2
  rm -rf "$CACHE"/image-* "$CACHE"/new.* # older images, and what an interrupted build left
  new=$(mktemp -d "$CACHE/new.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  build "$new"
  chmod 755 "$new"
  mv "$new" "$image"
fi
echo "$image"
