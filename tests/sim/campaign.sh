#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# campaign.sh RR_SIM FIRST LAST [JOBS]: plays all seeds from FIRST to LAST, JOBS at a time, each for two minutes at
# most, goes on behind those that fail, and says which those are. Exits 1 if there is one.
set -uo pipefail
rr_sim=$1 first=$2 last=$3 jobs=${4:-2}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

play() { # SEED
    local log="$out/$1.log"
    if timeout 120 "$rr_sim" --seeds "$1..$1" >"$log" 2>&1; then
        sed -n "s/^\([0-9]*\) virtual seconds in \([0-9.]*\) s,.*/$1 \1 \2/p" "$log" >"$out/$1.time"
    else
        echo "seed $1: $(grep -m1 -E 'FAILED|ERROR' "$log" || echo "no end in two minutes")"
        touch "$out/$1.failed"
    fi
    rm -f "$log"
}

for ((seed = first; seed <= last; seed++)); do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    play "$seed" &
done
wait
shopt -s nullglob
failed=("$out"/*.failed) held=("$out"/*.time)
echo "seeds $first..$last: ${#held[@]} hold, ${#failed[@]} do not"
[ ${#held[@]} -gt 0 ] && sort -n -k3 "${held[@]}" |
    awk '{virtual += $2; used += $3} END {print virtual " virtual seconds in " used " s of the processors; the slowest is seed " $1 ", " $3 " s"}'
[ ${#failed[@]} -eq 0 ]
