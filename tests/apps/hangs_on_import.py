"""New code with a mistake: the import never ends."""

import time

while True:
    time.sleep(3600)
