#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# sabotage.sh SOURCE_DIR [NAME…]: is the simulator able to find what it is there to find? Each patch of
# tests/sim/sabotage (or those named) is applied to a copy of the tree, and rr-sim must end badly within as many
# seeds as the patch's first line says. Exits 1 if one goes unnoticed.
set -euo pipefail
source_dir=$(cd "$1" && pwd)
shift
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

tar -C "$source_dir" --exclude='./build*' --exclude=./.git -cf - . | tar -C "$copy" -xf -
cmake -S "$copy" -B "$copy/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$copy/cmake.log" 2>&1 ||
    { cat "$copy/cmake.log"; exit 1; }

play() { # LAST
    ninja -C "$copy/build" rr-sim >"$copy/build.log" 2>&1 || { cat "$copy/build.log"; exit 1; }
    timeout 900 "$copy/build/tests/sim/rr-sim" --seeds "1..$1" >"$copy/sim.log" 2>&1
}

unnoticed=0
if ! play 20; then
    echo "sabotage: the tree as it is does not hold seeds 1..20:"
    tail -4 "$copy/sim.log"
    exit 1
fi
[ $# -gt 0 ] || set -- $(cd "$copy/tests/sim/sabotage" && ls -- *.patch | sed 's/\.patch$//')
for name; do
    patch=$copy/tests/sim/sabotage/$name.patch
    within=$(sed -n '1s/.*Found within \([0-9]*\) seeds\..*/\1/p' "$patch")
    patch -d "$copy" -p1 --no-backup-if-mismatch <"$patch" >"$copy/patch.log" || { cat "$copy/patch.log"; exit 1; }
    if play "${within:?"$name.patch does not say within how many seeds it is found"}"; then
        echo "sabotage: $name goes unnoticed in $within seeds"
        unnoticed=$((unnoticed + 1))
    else
        seed=$(sed -n 's/^seed \([0-9]*\):.*/\1/p' "$copy/sim.log" | head -1)
        echo "sabotage: $name is found by seed ${seed:-?} of $within: $(grep -m1 -E '^FAILED' "$copy/sim.log")"
    fi
    patch -d "$copy" -p1 -R --no-backup-if-mismatch <"$patch" >"$copy/patch.log"
done
exit $((unnoticed > 0))
