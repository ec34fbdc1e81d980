"""A client whose import takes long, as on a busy machine."""

import time

time.sleep(3)
