#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh [BUILD_DIR]
#
# Which branches of proto/ and raft/ do the project's own tests take? Builds both with gcov (default build/coverage), runs their unit
# tests and tests/script, and prints what is not taken, per file, and the shares. Branches of assertions are left out: only a broken
# belief takes their other side. Fails below 95 % of raft/ or 90 % of proto/.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
build=${1:-$top/build/coverage}
die() { printf 'coverage: %s\n' "$*" >&2; exit 2; }
command -v gcov >/dev/null || { echo "skipped: gcov is not installed"; exit 77; }

mkdir -p "$build" || exit 2
cmake -S "$top" -B "$build" -G Ninja -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE= -DCMAKE_C_FLAGS='--coverage -O0' -DRR_SLOW_CHECKS=ON \
    >"$build/coverage.log" 2>&1 && cmake --build "$build" -j 2 --target core_tests -- --quiet >>"$build/coverage.log" 2>&1 ||
    { tail -20 "$build/coverage.log"; die "the tree does not build"; }
find "$build" -name '*.gcda' -delete
while read -r program; do
    "$program" >"$build/coverage.log" 2>&1 || { tail -5 "$build/coverage.log"; die "$program fails"; }
done < <(grep . "$build/tests/mutants/core_tests.txt")
"$build/tests/conformance/rr-conformance" "$top/tests/script" >"$build/coverage.log" || { tail -30 "$build/coverage.log"; die "a scenario fails"; }

mapfile -t counts < <(find "$build/raft/CMakeFiles/rr_raft.dir" "$build/proto/CMakeFiles/rr_proto.dir" -name '*.gcda' | sort)
[ ${#counts[@]} -gt 0 ] || die "nothing was counted"
gcov -b -c -t "${counts[@]}" 2>/dev/null | awk -v top="$top/" '
    # Lines of gcov: "count:line:source", and below each "branch N taken M".
    / 0:Source:/ {
        file = substr($0, index($0, "Source:") + 7)
        sub(top, "", file)
        wanted = file ~ /^(raft|proto)\//
        depth = 0
        next
    }
    !wanted { next }
    /^ *[-#=0-9*]+: *[0-9]+:/ {
        split($0, part, ":")
        line = part[2] + 0
        text = $0
        sub(/^[^:]*:[^:]*:/, "", text)
        # An assertion reaches from its name to the parenthesis that closes it.
        is_assertion = depth > 0
        rest = text
        if (!is_assertion && match(text, /RR_ASSERT(_SLOW|_SAYS)?\(/)) {
            is_assertion = 1
            rest = substr(text, RSTART)
        }
        if (is_assertion)
            depth += gsub(/\(/, "", rest) - gsub(/\)/, "", rest)
        branch = 0
        source[file, line] = text
        next
    }
    /^branch/ && !is_assertion {
        key = file SUBSEP line SUBSEP branch++
        if (!(key in taken)) order[++count] = key
        taken[key] += $3 == "taken" ? $4 : 0
    }
    END {
        for (i = 1; i <= count; i++) {
            split(order[i], at, SUBSEP)
            room = at[1]
            sub(/\/.*/, "", room)
            all[room]++
            file_all[at[1]]++
            if (taken[order[i]] > 0) { hit[room]++; file_hit[at[1]]++ }
            else missed[at[1]] = missed[at[1]] sprintf("%s:%d: branch %d never taken:%s\n", at[1], at[2], at[3], source[at[1], at[2]])
        }
        sorted = "sort -t: -k1,1 -k2,2n"
        for (file in missed) printf "%s", missed[file] | sorted
        close(sorted)
        sorted = "sort"
        for (file in file_all)
            printf "%-36s %5d of %5d branches\n", file, file_hit[file], file_all[file] | sorted
        close(sorted)
        goal["raft"] = 95
        goal["proto"] = 90
        for (room in goal) {
            share = all[room] ? 100 * hit[room] / all[room] : 0
            printf "%-6s %.1f %% of %d branches taken, goal %d %%\n", room, share, all[room], goal[room]
            bad += share < goal[room]
        }
        exit bad > 0
    }'
