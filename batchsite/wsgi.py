"""What gunicorn serves. With --preload, its processes are forked from one that has loaded this, so
no thread may run yet; see server.Worker."""

import gc
import os
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

application = get_wsgi_application()

from jobs.actions import nudges  # noqa: E402 - they need the settings
from jobs.models import locks  # noqa: E402 - as above
from jobs.web import warm_up  # noqa: E402 - as above

# A thread keeps its connection for a minute: to open one, and to read what tables there are, takes
# a fifth of a short answer. There are many threads, so each keeps less in memory.
DATABASE = settings.DATABASES["default"]
DATABASE["CONN_MAX_AGE"] = 60
if "init_command" in DATABASE["OPTIONS"]:
    DATABASE["OPTIONS"]["init_command"] += " PRAGMA cache_size=-2000;"
locks.join_site()
nudges.load()
warm_up.load()
# All this stays, so nobody has to look through it for garbage, or to copy it for that.
gc.collect()
gc.freeze()
gc.set_threshold(10_000)
# A short answer soon gets its turn beside threads that take in large files.
sys.setswitchinterval(0.001)
