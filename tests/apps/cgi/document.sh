#!/bin/sh
# A document, whatever the method: to HEAD too.
printf 'Content-Type: text/plain\nContent-Length: 6\n\nhello\n'
