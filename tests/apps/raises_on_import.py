"""New code with a mistake: raises on import, a few calls deep."""


def connect_to_database():
    raise RuntimeError("no such database: the import fails on purpose")


connect_to_database()
