#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# campaign.sh RR_SIM FIRST LAST [JOBS]: plays all seeds from FIRST to LAST, JOBS at a time, goes on behind those that
# fail, and says which those are. Exits 1 if there is one.
set -uo pipefail
rr_sim=$1 first=$2 last=$3 jobs=${4:-2}
step=25
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

play() { # FIRST LAST
    local at=$1 log="$out/$1"
    while [ "$at" -le "$2" ]; do
        "$rr_sim" --seeds "$at..$2" >"$log" 2>&1 && break
        local seed
        seed=$(sed -n 's/^seed \([0-9]*\): at .*/\1/p' "$log" | head -1)
        echo "seed ${seed:-? from $at on}: $(grep -m1 -E 'FAILED|ERROR' "$log")"
        touch "$out/failed"
        at=$((${seed:-$2} + 1))
    done
}

for ((at = first; at <= last; at += step)); do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    play "$at" $((at + step - 1 < last ? at + step - 1 : last)) &
done
wait
[ ! -e "$out/failed" ] && echo "seeds $first..$last hold"
