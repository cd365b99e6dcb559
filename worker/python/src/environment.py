"""Python's logging for what the worker itself has to say."""

import logging


class JsonFormatter(logging.Formatter):
    def format(self, record):
        import json

        line = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(level, log_format):
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("supervise")
    logger.addHandler(handler)
    logger.setLevel({"trace": logging.DEBUG, "warn": logging.WARNING}.get(level, level.upper()))
    logger.propagate = False
