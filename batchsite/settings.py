"""Settings of the site. Every choice an operator has is an environment variable; README and
.env.example describe each of them, and a test holds the three together."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def env_text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_bool(name: str) -> bool:
    value = env_text(name, "off").lower()
    if value in {"1", "on", "true", "yes"}:
        return True
    if value in {"0", "off", "false", "no"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; it must be on or off.")


def env_number(name: str, default: float, least: float) -> float:
    text = env_text(name, str(default))
    try:
        value = float(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {text!r}; it must be a number.") from None
    if not least <= value < float("inf"):
        raise ImproperlyConfigured(f"{name} is {text}; it must be {least:g} or more.")
    return value


def secret_key(data_dir: Path) -> str:
    """SECRET_KEY from the environment, else one that is made at the first start and kept in
    DATA_DIR. Two processes that start together agree on one: the file is linked into place
    whole, and the one that comes second reads what the first wrote."""
    if key := env_text("SECRET_KEY"):
        return key
    path = data_dir / "secret-key"
    if not path.exists():
        draft = data_dir / f".secret-key-{os.getpid()}-{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


DEBUG = env_bool("DEBUG")

# What the site writes holds people's data: for its own user only.
os.umask(0o077)
DATA_DIR = Path(env_text("DATA_DIR", str(BASE_DIR / "data"))).resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
SECRET_KEY = secret_key(DATA_DIR)

# --- Addresses and TLS ----------------------------------------------------------------------------
ALLOWED_HOSTS = [
    host.strip() for host in env_text("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",") if host
]
BIND = env_text("BIND", "127.0.0.1:8000")
# HTTPS=on says that a proxy in front speaks TLS and sets X-Forwarded-Proto.
HTTPS = env_bool("HTTPS")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "batchsite_session"
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "batchsite_csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "jobs.web.views.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"

# --- The provider ---------------------------------------------------------------------------------
ANTHROPIC_API_KEY = env_text("ANTHROPIC_API_KEY")
# No key: practice mode. Nothing may then leave this machine, so an address is only taken from the
# environment when it is this machine's.
PRACTICE = not ANTHROPIC_API_KEY
PRACTICE_URL = "http://127.0.0.1:8790"
ANTHROPIC_BASE_URL = env_text(
    "ANTHROPIC_BASE_URL", PRACTICE_URL if PRACTICE else "https://api.anthropic.com"
).rstrip("/")
_provider = urlsplit(ANTHROPIC_BASE_URL)
PROVIDER_IS_LOCAL = _provider.hostname in {"localhost", "127.0.0.1", "::1"}
if PRACTICE and not PROVIDER_IS_LOCAL:
    ANTHROPIC_BASE_URL, PROVIDER_IS_LOCAL = PRACTICE_URL, True
elif _provider.scheme != "https" and not (_provider.scheme == "http" and PROVIDER_IS_LOCAL):
    raise ImproperlyConfigured(
        f"ANTHROPIC_BASE_URL is {ANTHROPIC_BASE_URL}; it must start with https:// "
        "(http:// is allowed for this machine only)."
    )

# Seconds between two looks at the provider's list of batches.
POLL_SECONDS = env_number("POLL_SECONDS", 2 if PRACTICE else 30, least=0.1)
# After this many seconds a submission without an answer is given up on and settled by listing.
SUBMIT_DEADLINE_SECONDS = env_number("SUBMIT_DEADLINE_SECONDS", 600, least=1)
# How long after that the provider's list must stay empty before a batch counts as not accepted.
# How late a real provider lists a batch is not documented, so that may not be short.
RECONCILE_GRACE_SECONDS = env_number(
    "RECONCILE_GRACE_SECONDS", 600, least=0 if PROVIDER_IS_LOCAL else 60
)
# Then it is sent again, or a person is asked whether it should be.
RECONCILE_RESUBMIT = env_text("RECONCILE_RESUBMIT", "auto")
if RECONCILE_RESUBMIT not in {"auto", "ask"}:
    raise ImproperlyConfigured(
        f"RECONCILE_RESUBMIT is {RECONCILE_RESUBMIT!r}; it must be auto or ask."
    )
# Provider limits (100,000 requests, 256 MB), with a margin: whether MB means 10^6 or 2^20 bytes is
# not documented.
BATCH_MAX_REQUESTS = int(env_number("BATCH_MAX_REQUESTS", 99_000, least=1))
BATCH_MAX_BYTES = int(env_number("BATCH_MAX_BYTES", 250_000_000, least=10_000))
# What is read of a file, and how much memory and computing time the process has that reads it.
MAX_UPLOAD_BYTES = int(env_number("MAX_UPLOAD_BYTES", 1_000_000_000, least=1))
# What one person's files, rows and results may take up; and what new files leave free on the disk,
# so that results that are on their way can be stored.
MAX_PERSON_BYTES = int(env_number("MAX_PERSON_BYTES", 20_000_000_000, least=1))
DISK_RESERVE_BYTES = int(env_number("DISK_RESERVE_BYTES", 500_000_000, least=50_000_000))
MAX_UNPACKED_BYTES = int(env_number("MAX_UNPACKED_BYTES", 2_000_000_000, least=1))
MAX_ROWS = int(env_number("MAX_ROWS", 1_000_000, least=1))
MAX_COLUMNS = int(env_number("MAX_COLUMNS", 500, least=1))
MAX_CELL_BYTES = int(env_number("MAX_CELL_BYTES", 1_000_000, least=1))
MAX_LINE_BYTES = int(env_number("MAX_LINE_BYTES", 5_000_000, least=1))
READING_MEMORY_BYTES = int(env_number("READING_MEMORY_BYTES", 1_500_000_000, least=200_000_000))
READING_SECONDS = int(env_number("READING_SECONDS", 600, least=1))

# --- Django ---------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "jobs",  # before Huey: run_huey is ours
    "huey.contrib.djhuey",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "jobs.web.middleware.room_to_sign_in",
    "jobs.web.middleware.content_security_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Before the CSRF check, which reads the whole body: a stranger's upload is refused unread.
    "jobs.web.middleware.sign_in_required",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "jobs.web.middleware.time_zone",
    "jobs.web.middleware.prices_in_force",
]
ROOT_URLCONF = "batchsite.urls"
WSGI_APPLICATION = "batchsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "libraries": {"show": "jobs.web.templatetags.show"},
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "jobs.web.context_processors.site",
            ],
        },
    }
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "jobs"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"  # made by collectstatic at every start
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# An upload is streamed to the disk that keeps it, so that taking it in is a rename.
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "uploads" / "incoming"
FILE_UPLOAD_TEMP_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
FILE_UPLOAD_HANDLERS = ["jobs.drafts.upload_handler.LimitedUploadHandler"]
FILE_UPLOAD_PERMISSIONS = 0o600
DATA_UPLOAD_MAX_MEMORY_SIZE = 5_000_000  # a form without its files: prompts can be long

# --- Database and queue ---------------------------------------------------------------------------
DATABASE_URL = env_text("DATABASE_URL")
if DATABASE_URL:
    if not DATABASE_URL.startswith(("postgres://", "postgresql://")):
        raise ImproperlyConfigured("DATABASE_URL must start with postgres:// or postgresql://.")
    DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=60)}
    _queue = {
        "huey_class": "huey.PostgresHuey",
        # Blocking would keep one more connection to the database open for each thread.
        "connection": {"dsn": DATABASE_URL, "blocking": False},
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(DATA_DIR / "batchsite.sqlite3"),
            # IMMEDIATE: a transaction that reads and then writes would otherwise fail at once with
            # "database is locked". FULL: an intent to spend money survives a power cut.
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    }
    _queue = {
        "huey_class": "huey.SqliteHuey",
        "connection": {"filename": str(DATA_DIR / "queue.sqlite3")},
    }
# The queue is a clock and some threads; the database is the truth. So results are not kept, tasks
# are not retried, and "immediate" is off even with DEBUG (a request would else call the provider).
HUEY = {
    **_queue,
    "name": "batchsite",
    "immediate": False,
    "results": False,
    "consumer": {
        # A thread that sends or fetches mostly waits. More threads than jobs/batches/slots.py has
        # slots, so that there is always one for the tick.
        "workers": 30,
        "worker_type": "thread",
        "max_delay": 1.0,
        "graceful_signal": "TERM",
        "shutdown_timeout": 25,
    },
}

# --- Logs -----------------------------------------------------------------------------------------
# The provider's client logs prompts at DEBUG, so it stays at WARNING. It would set its level from
# this variable when it is imported, which is after the configuration here.
os.environ.pop("ANTHROPIC_LOG", None)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "class": "jobs.rules.plain_text.LineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "jobs": {"level": "INFO"},
        "huey": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        "anthropic": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "httpcore2": {"level": "WARNING"},
    },
}
