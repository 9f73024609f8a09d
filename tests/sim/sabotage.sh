#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# sabotage.sh SOURCE_DIR: is the simulator able to find what it is there to find? Each patch of tests/sim/sabotage
# is applied to a copy of the tree, and rr-sim must end badly within 20 seeds. Exits 1 if one goes unnoticed.
set -euo pipefail
source_dir=$(cd "$1" && pwd)
seeds=1..20
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

tar -C "$source_dir" --exclude=./build --exclude=./.git -cf - . | tar -C "$copy" -xf -
cmake -S "$copy" -B "$copy/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$copy/cmake.log" 2>&1 ||
    { cat "$copy/cmake.log"; exit 1; }

play() {
    ninja -C "$copy/build" rr-sim >"$copy/build.log" 2>&1 || { cat "$copy/build.log"; exit 1; }
    "$copy/build/tests/sim/rr-sim" --seeds $seeds >"$copy/sim.log" 2>&1
}

unnoticed=0
if ! play; then
    echo "sabotage: the tree as it is does not hold seeds $seeds:"
    tail -4 "$copy/sim.log"
    exit 1
fi
for patch in "$copy"/tests/sim/sabotage/*.patch; do
    name=$(basename "$patch" .patch)
    patch -d "$copy" -p1 --no-backup-if-mismatch <"$patch" >"$copy/patch.log" || { cat "$copy/patch.log"; exit 1; }
    if play; then
        echo "sabotage: $name goes unnoticed in seeds $seeds"
        unnoticed=$((unnoticed + 1))
    else
        echo "sabotage: $name is found: $(grep -E '^(FAILED|seed)' "$copy/sim.log" | tr '\n' ' ')"
    fi
    patch -d "$copy" -p1 -R --no-backup-if-mismatch <"$patch" >"$copy/patch.log"
done
exit $((unnoticed > 0))
