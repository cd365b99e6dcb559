#!/bin/sh
# Answers each line of its input when it has read it.
printf 'Content-Type: text/plain\n\n'
while read -r line; do printf 'got %s\n' "$line"; done
