#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tidy.sh SOURCE_DIR BUILD_DIR: the rules that are kept by a test and have no exemptions. Prints a line per offence and exits 1 if
# there is any. BUILD_DIR may be missing: then the rules about symbols are skipped, and it says so.
set -uo pipefail
cd "$1" || exit 2
build=${2:-}
offences=0
offend() { printf '%s\n' "$*"; offences=$((offences + 1)); }

if git rev-parse --git-dir >/dev/null 2>&1; then
    mapfile -t files < <(git ls-files -co --exclude-standard '*.c' '*.h' '*.cc' | sort)
else
    mapfile -t files < <(find . -path ./build -prune -o \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) -print | sed 's|^\./||' | sort)
fi
[ ${#files[@]} -gt 0 ] || { echo "tidy: no source files below $1"; exit 2; }

# File length at most 600, function length at most 70 (from the opening to the closing brace in column 0), width at most 100.
while read -r line; do offend "$line"; done < <(awk '
    function wide(s) { gsub(/[\200-\277]/, "", s); return length(s) }
    FNR == 1 { if (lines > 600) print file ": " lines " lines; a file has at most 600"; file = FILENAME; open = 0 }
    { lines = FNR }
    wide($0) > 100 { print FILENAME ":" FNR ": wider than 100 columns" }
    /^\{$/ { open = FNR }
    /^\}/ && open { if (FNR - open + 1 > 70) print FILENAME ":" open ": a function of " FNR - open + 1 " lines; at most 70"; open = 0 }
    END { if (lines > 600) print file ": " lines " lines; a file has at most 600" }' "${files[@]}")

# File names are unique in the tree, so that a log line needs no path.
while read -r name; do offend "$name: this file name stands more than once in the tree"; done < <(
    printf '%s\n' "${files[@]##*/}" | sort | uniq -d)

# Every file says its licence; no bare notes to self.
while read -r file; do offend "$file: no SPDX line at its head"; done < <(
    awk 'FNR == 1 && !/SPDX-License-Identifier: Apache-2.0/ { print FILENAME } { nextfile }' "${files[@]}")
while read -r hit; do offend "$hit: a bare note to self; do it, or write an issue and name it"; done < <(
    grep -nE '\b(TODO|FIXME|XXX)\b' "${files[@]}" /dev/null | cut -d: -f1,2)

# Who may include whom (docs/DESIGN.md). include_rule GLOB FORBIDDEN-REGEX SENTENCE
include_rule() {
    local hit
    while read -r hit; do offend "$hit: $3"; done < <(
        for file in "${files[@]}"; do [[ $file == $1 ]] && printf '%s\0' "$file"; done |
            xargs -0r grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" /dev/null | cut -d: -f1-3)
}
include_rule '*' '\.\./' 'includes go by the path from the root'
include_rule 'proto/*' '(raft|io|engine|bench|tests)/|ringraft/(raft|ringraft)\.h' 'proto/ sees libc and itself only'
include_rule 'raft/*' '(io|engine|bench|tests)/|ringraft/ringraft\.h' 'raft/ sees proto/ only'
include_rule 'raft/*' '(stdio|stdlib|time|unistd|errno|pthread|math|sys/.*|linux/.*)\.h' 'raft/ is pure: no such header'
include_rule 'io/*' '(raft|engine|bench|tests)/|ringraft/(raft|ringraft)\.h' 'io/ sees proto/ only'
include_rule 'engine/*' '(bench|tests)/' 'engine/ does not see programs or tests'
while read -r hit; do offend "$hit: only io/uring/ includes liburing"; done < <(
    printf '%s\0' "${files[@]}" | grep -zvE '^(io/uring|tests|bench)/' | xargs -0r grep -nE 'include <liburing' /dev/null |
        cut -d: -f1,2)
generated=$(grep -lE 'include .*\.pb-c\.h' "${files[@]}" | wc -l)
[ "$generated" -le 1 ] || offend "protobuf-c's generated header is included by $generated files; one may"
while read -r hit; do offend "$hit: jemalloc is for programs, not for the library"; done < <(
    grep -nE 'jemalloc' $(printf '%s\n' "${files[@]}" | grep -E '^(proto|raft|io|engine)/') /dev/null | cut -d: -f1,2)

# Symbols: raft/ is pure, and what the library exports begins with rr_.
if [ -n "$build" ] && [ -d "$build" ]; then
    allow='^(mem(cpy|move|set|cmp|chr)|str(len|cmp|ncmp|chr)|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__asan.*|__ubsan.*|__tsan.*)$'
    mapfile -t raft_objects < <(find "$build/raft" -name '*.o' | sort)
    [ ${#raft_objects[@]} -gt 0 ] || offend "$build: no objects of raft/ were built"
    defined=$(nm --defined-only -g "${raft_objects[@]}" $(find "$build/proto" -name '*.o') 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
    while read -r symbol; do offend "raft/ uses $symbol, which is not on the list of what a pure core may use"; done < <(
        nm -u "${raft_objects[@]}" | awk 'NF == 2 && $1 == "U" { print $2 }' | sort -u | grep -vE "$allow" |
            grep -vxF "$defined")
    while read -r symbol; do offend "raft/ has mutable global data: $symbol"; done < <(
        objdump -t "${raft_objects[@]}" | awk '$NF !~ /^\./ && / (\.data|\.bss|\*COM\*)\t/ { print $NF }' |
            grep -vE '^_*(asan|ubsan|tsan|sanitizer|ODR)' | sort -u)
    for library in "$build/engine/libringraft.so" "$build/engine/libringraft.a"; do
        [ -f "$library" ] || { offend "$library was not built"; continue; }
        flags=-g
        [[ $library == *.so ]] && flags=-D
        while read -r symbol; do offend "$library exports $symbol; exported names begin with rr_"; done < <(
            nm $flags --defined-only "$library" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -vE '^rr_' | sort -u)
    done
else
    echo "tidy: no build directory given: the rules about symbols are skipped"
fi

[ $offences -eq 0 ] && { echo "tidy: ${#files[@]} files, nothing to say"; exit 0; }
echo "tidy: $offences offences"
exit 1
