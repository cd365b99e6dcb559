"""The access log by way of Python's logging, for those who configure it there."""

import logging
import sys


def writer(name, as_record):
    logger = logging.getLogger(name)
    # As uvicorn and gunicorn do for their access loggers; a level that somebody chose stays.
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(levelname)s:     %(message)s" if as_record else "%(message)s"))
        logger.addHandler(handler)

    def log_record(line):
        client, method, target, version, status = line.split("\t")
        # The arguments that uvicorn's AccessFormatter takes apart.
        logger.info('%s - "%s %s HTTP/%s" %d', client, method, target, version, int(status))

    def write(lines):
        for line in lines.decode("utf-8", "replace").rstrip("\n").split("\n"):
            if as_record:
                log_record(line)
            else:
                logger.info("%s", line)

    return write
