#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# bare_root.sh SOURCE_DIR WORK_DIR: an empty Debian 12 root with nothing but git and a clone of the committed sources; there
# `./dev bench --quick` and `./dev test` must succeed, and a second run must do no set-up work. Needs root, debootstrap and the host's own
# package source, which is read from its apt configuration. Exit 77: it cannot run here, and why.
set -euo pipefail
source_dir=$1
root=$2/bare-root
[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root for chroot and mounts"; exit 77; }
command -v debootstrap >/dev/null || { echo "skipped: debootstrap is not installed"; exit 77; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
[ -n "$mirror" ] || { echo "skipped: no package source in the host's apt configuration"; exit 77; }

umounts() {
    local at
    for at in dev/shm dev/pts dev sys proc; do
        mountpoint -q "$root/$at" && umount "$root/$at"
    done
    return 0
}
cleanup() {
    umounts
    rm -rf --one-file-system "$root"
}
trap cleanup EXIT
mkdir -p "$root"

debootstrap --variant=minbase --include=git,ca-certificates bookworm "$root" "$mirror" >"$2/debootstrap.log" 2>&1 ||
    { tail -5 "$2/debootstrap.log"; exit 1; }
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sys "$root/sys"
mount --bind /dev "$root/dev"
mkdir -p "$root/dev/pts" "$root/src"
git clone -q "$source_dir" "$root/src/ringraft"

inside() { chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 bash -c "cd /src/ringraft && git config --global --add safe.directory '*' && $1"; }
inside './dev bench --quick'
inside './dev test'
echo '== second run'
second=$(inside './dev bench --quick --shape depth1 2>&1 && ./dev build 2>&1')
if grep -qE '^== (installing|configuring)' <<<"$second"; then
    echo "a second run did set-up work again:"
    echo "$second"
    exit 1
fi
echo "bare root: bench and tests succeed, a second run does no set-up work"
