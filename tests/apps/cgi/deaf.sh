#!/bin/sh
# Reads nothing.
exec <&-
printf 'Content-Type: text/plain\n\ndone\n'
