"""What gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "batchsite.settings")

application = get_wsgi_application()

from jobs.actions import nudges  # noqa: E402 - they need the settings
from jobs.models import locks, versions  # noqa: E402 - as above
from jobs.web import warm_up  # noqa: E402 - as above

locks.join_site()
versions.begin()
nudges.load()
warm_up.begin()
