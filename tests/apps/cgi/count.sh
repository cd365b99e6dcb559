#!/bin/sh
# Counts its input.
printf 'Content-Type: text/plain\n\n'
wc -c
