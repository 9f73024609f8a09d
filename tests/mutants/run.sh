#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [--sample N] [--with-shared DIR] [--work DIR] [NAME…]
#
# Do the project's own tests notice when the core is wrong? Each patch beside this file breaks one thing in proto/ or raft/; its first
# line says what. In a copy of the tree, each is applied, built, held against the unit tests of proto/ and raft/ and against
# tests/script, and taken back. A mutant that no test notices, that no longer applies or that does not compile is a failure.
#
#   --sample N         N of them, other ones every day
#   --with-shared DIR  says of each whether the scenarios in DIR notice it too (counts for nothing)
#   --work DIR         where copy and build live (default build/mutants); the checkout is never touched
#   NAME               patches whose name contains it
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
work=$top/build/mutants
sample=0
shared=
names=()

die() { printf 'mutants: %s\n' "$*" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case "$1" in
    --sample) sample=${2:?}; shift ;;
    --with-shared) shared=$(readlink -f "${2:?}"); shift ;;
    --work) work=${2:?}; shift ;;
    -*) die "unknown option $1" ;;
    *) names+=("$1") ;;
    esac
    shift
done
command -v patch >/dev/null || { echo "skipped: the program patch is not installed"; exit 77; }

# ---- which mutants ----
mutants=()
for patch in "$here"/[0-9]*.patch; do
    name=$(basename "$patch" .patch)
    [ ${#names[@]} -eq 0 ] && mutants+=("$name")
    for wanted in ${names[@]+"${names[@]}"}; do
        [[ $name == *$wanted* ]] && { mutants+=("$name"); break; }
    done
done
[ ${#mutants[@]} -gt 0 ] || die "no patch of that name"
if [ "$sample" -gt 0 ] && [ "$sample" -lt ${#mutants[@]} ]; then
    # As a wheel: over the days everyone has its turn, and neighbours in the list differ.
    count=${#mutants[@]}
    day=$(($(date +%s) / 86400))
    chosen=()
    for ((i = 0; i < sample; i++)); do
        chosen+=("${mutants[$(((day + i * count / sample) % count))]}")
    done
    mutants=("${chosen[@]}")
fi

# ---- the copy ----
parts=(CMakeLists.txt library.cmake proto raft io engine bench examples tests)
tree=$work/tree
build=$work/build
mkdir -p "$tree" || exit 2
# Only what differs is copied, so that the next build finds little to do.
(cd "$top" && find "${parts[@]}" -type f | sort) >"$work/files"
while read -r file; do
    cmp -s "$top/$file" "$tree/$file" && continue
    mkdir -p "$tree/$(dirname "$file")"
    cp "$top/$file" "$tree/$file"
    [ -x "$top/$file" ] && chmod +x "$tree/$file"
done <"$work/files"
(cd "$tree" && find . -type f | sed 's|^\./||' | sort) | comm -23 - "$work/files" |
    while read -r file; do rm "$tree/$file"; done

compile() { cmake --build "$build" -j 2 --target core_tests -- --quiet >"$work/build.log" 2>&1; }
cmake -S "$tree" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE= -DRR_SLOW_CHECKS=ON >"$work/build.log" 2>&1 && compile ||
    { tail -20 "$work/build.log"; die "the tree does not build without a mutant"; }
mapfile -t tests < <(grep . "$build/tests/mutants/core_tests.txt")
[ ${#tests[@]} -gt 0 ] || die "found no tests"
scenarios=$build/tests/conformance/rr-conformance

# ---- one mutant ----
# Prints what notices it, or fails. A mutant may loop, or eat all memory.
killer() {
    local program
    for program in "${tests[@]}"; do
        (ulimit -v 8000000 -c 0; timeout 60 "$program") >"$work/test.log" 2>&1 && continue
        # check.h announces each test before it runs.
        echo "$(basename "$program")$(sed -n 's|^  \(test_.*\)|: \1|p' "$work/test.log" | tail -1)"
        return 0
    done
    scenario_killer "$tree/tests/script"
}
scenario_killer() {
    local code
    (ulimit -v 8000000 -c 0; timeout 120 "$scenarios" "$1") >"$work/test.log" 2>&1
    code=$?
    [ $code -eq 0 ] && return 1
    # A mutant that stops the program leaves no name: then the scenarios are tried one at a time.
    local first
    first=$(sed -n 's|^--- ||p' "$work/test.log" | head -1)
    [ -n "$first" ] || for first in "$1"/*.txt; do
        (ulimit -v 8000000 -c 0; timeout 60 "$scenarios" "$first") >"$work/test.log" 2>&1 || break
    done
    basename "${first%% *}"
}

passed=0
failed=0
# verdict NAME WORD FAILED: one line.
verdict() {
    printf '%-44s %s\n' "$1" "$2"
    failed=$((failed + $3)) passed=$((passed + 1 - $3))
}
if by=$(killer); then
    tail -5 "$work/test.log"
    die "$by fails without a mutant"
fi

take_back() {
    local file
    sed -n 's|^+++ b/||p' "$1" | while read -r file; do
        rm -f "$tree/$file.orig" "$tree/$file.rej"
        cp "$work/pristine/$file" "$tree/$file"
    done
}
rm -rf "$work/pristine"
mkdir -p "$work/pristine"
cp -r "$tree/proto" "$tree/raft" "$work/pristine"
trap 'take_back "$here/$name.patch"' EXIT
for name in "${mutants[@]}"; do
    patch=$here/$name.patch
    if ! patch -d "$tree" -p1 -s -f -F 2 --no-backup-if-mismatch <"$patch" >"$work/build.log" 2>&1; then
        verdict "$name" "DOES NOT APPLY any more: $(head -1 "$patch")" 1
    elif ! compile; then
        verdict "$name" "DOES NOT COMPILE: $(grep -m1 'error:' "$work/build.log")" 1
    elif by=$(killer); then
        verdict "$name" "killed by $by" 0
    else
        verdict "$name" "SURVIVED: $(head -1 "$patch")" 1
    fi
    if [ -n "$shared" ]; then
        by=$(scenario_killer "$shared") && echo "    $shared: $by" || echo "    $shared: nothing"
    fi
    take_back "$patch"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
