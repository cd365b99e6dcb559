#!/bin/sh
# Tells what it was started with: its whole environment, its words, its directory, its descriptors, its input.
printf 'Content-Type: text/plain\r\n\r\n'
tr '\0' '\n' </proc/$$/environ
for word; do printf 'WORD=%s\n' "$word"; done
printf 'DIRECTORY=%s\n' "$(pwd)"
printf 'DESCRIPTORS='; ls -x -w 9999 /proc/$$/fd
printf 'GROUP_LEADER=%s\n' "$(awk -v pid=$$ '{ if ($5 == pid) print "yes" }' /proc/$$/stat)"
if [ -n "$CONTENT_LENGTH" ]; then printf 'INPUT=%s\n' "$(head -c "$CONTENT_LENGTH")"; fi
