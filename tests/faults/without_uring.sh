#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# without_uring.sh LAUNCHER BENCH TEST…
#
# Does everything work where a filter refuses io_uring, and does it say why it is slower? A short bench and a sample of the tests.
# By hand, for all of them: rr-without-uring EPERM|ENOSYS ./dev test
set -uo pipefail
launcher=$1
bench=$2
shift 2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
fail() { printf 'without_uring: %s\n' "$*" >&2; exit 1; }

"$launcher" EPERM "$bench" --quick --shape depth1 --slice 200ms --dir . >"$work/bench" 2>&1
status=$?
cat "$work/bench"
[ "$status" -eq 77 ] && exit 77
[ "$status" -eq 0 ] || fail "the bench exits with $status"
grep -q 'running on epoll and a disk thread, which is slower: ' "$work/bench" || fail "the bench does not say why it is slower"
grep -q 'backend posix' "$work/bench" || fail "the bench does not run on the posix backend"
for test in "$@"; do
    "$launcher" EPERM "$test" >"$work/test" 2>&1
    status=$?
    printf '%s: exit %d\n' "${test##*/}" "$status"
    case $status in
    0) ;;
    77) grep -q '^skipped: .*io_uring' "$work/test" || fail "$test is skipped and does not say that io_uring is why" ;;
    *) cat "$work/test"; fail "$test fails" ;;
    esac
done
