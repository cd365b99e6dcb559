#!/bin/sh
# Every kind of trouble, by name. `sleep 77` marks what must not be left.
header() { printf 'Content-Type: text/plain\n\nbegun\n'; }
case "$QUERY_STRING" in
what=hangs) exec sleep 77 ;;
what=ignores_term) trap '' TERM; header; while :; do sleep 77; done ;;
what=floods) header; exec yes ;;
what=complains) header; head -c 3000000 /dev/zero | tr '\0' 'x' | fold -w 100 >&2 ;;
what=forges) header; printf 'first\r\033[31mred\nsecond\n' >&2 ;;
what=dies_at_once) kill -9 $$ ;;
what=dies_later) header; kill -9 $$ ;;
what=fails) header; exit 3 ;;
what=says_nothing) exit 0 ;;
what=closes_output) header; exec >&-; exec sleep 77 ;;
what=leaves_a_child) header; sleep 77 & ;;
what=leaves_a_stranger) header; setsid sleep 77 & ;;
what=waits) header; exec sleep 77 ;;
what=waits_for_file) while [ ! -e "$RELEASE" ]; do sleep 0.05; done; header ;;
esac
