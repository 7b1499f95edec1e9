"""Settings of the site. A test holds its variables, README and .env.example together."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from .environment import (
    copy_target,
    env_bool,
    env_choice,
    env_list,
    env_number,
    env_secret,
    env_text,
)
from .logs import logging_settings
from .sign_in import *  # noqa: F403 - settings are found by their names

BASE_DIR = Path(__file__).resolve().parent.parent

SHORTEST_SECRET_KEY = 32
PLACEHOLDERS = ("change", "insecure", "django-insecure", "replace", "your-secret", "example")


def secret_key(data_dir: Path) -> str:
    """SECRET_KEY from the environment, else one that is made at the first start and kept in
    DATA_DIR. Two processes that start together agree on one: the file is linked into place
    whole, and the one that comes second reads what the first wrote."""
    if key := env_secret("SECRET_KEY", env_text("SECRET_KEY_FILE")):
        is_placeholder = key.lower().startswith(PLACEHOLDERS) or len(set(key)) < 8
        if len(key) < SHORTEST_SECRET_KEY or is_placeholder:
            raise ImproperlyConfigured(
                f"SECRET_KEY can be guessed; use {SHORTEST_SECRET_KEY} random characters or more, "
                "or leave it out: the site makes one."
            )
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
# For lists that browsers ship with: hard to undo, so it is asked for.
SECURE_HSTS_PRELOAD = env_bool("HSTS_PRELOAD") and HTTPS
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "batchsite_session"
# A session ends after this time without a page opened, and after this many days in any case.
SESSION_IDLE_HOURS = env_number("SESSION_IDLE_HOURS", 72, least=0.1)
SESSION_MAX_DAYS = env_number("SESSION_MAX_DAYS", 14, least=0.01)
SESSION_COOKIE_AGE = int(SESSION_MAX_DAYS * 24 * 3600)
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "batchsite_csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "jobs.web.views.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"

# --- The provider ---------------------------------------------------------------------------------
# "": the key that an administrator entered on a page counts, see jobs/models/api_key.py.
ANTHROPIC_API_KEY = env_secret("ANTHROPIC_API_KEY", env_text("ANTHROPIC_API_KEY_FILE"))
STORED_API_KEY = DATA_DIR / "api-key"
# No key: practice mode. Nothing may then leave this machine, so an address is only taken from the
# environment when it is this machine's. `serve` hands its mode on to all that it starts: a part
# that is started again must not change it because a key was stored meanwhile.
MODE = os.environ.get("BATCHSITE_MODE") or (
    "real" if ANTHROPIC_API_KEY or STORED_API_KEY.exists() else "practice"
)
PRACTICE = MODE == "practice"
PRACTICE_URL = "http://127.0.0.1:8790"
ANTHROPIC_BASE_URL = env_text(
    "ANTHROPIC_BASE_URL", PRACTICE_URL if PRACTICE else "https://api.anthropic.com"
).rstrip("/")
_provider = urlsplit(ANTHROPIC_BASE_URL)
PROVIDER_IS_LOCAL = _provider.hostname in {"localhost", "127.0.0.1", "::1"}
# Where a new key is tested, also in practice mode: the address that holds after a restart.
NEW_KEY_URL = env_text("ANTHROPIC_BASE_URL", "https://api.anthropic.com").rstrip("/")
NEW_KEY_IS_LOCAL = urlsplit(NEW_KEY_URL).hostname in {"localhost", "127.0.0.1", "::1"}
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

# --- Mail -----------------------------------------------------------------------------------------
# smtp:// starts with plain text and changes to TLS, except on this machine; smtps:// is TLS.
EMAIL_URL = env_text("EMAIL_URL")
HAS_MAIL = bool(EMAIL_URL)
DEFAULT_FROM_EMAIL = env_text("EMAIL_FROM")
if HAS_MAIL:
    _mail = urlsplit(EMAIL_URL)
    if _mail.scheme not in {"smtp", "smtps"} or not _mail.hostname:
        raise ImproperlyConfigured("EMAIL_URL must be smtp://user:password@host:port, or smtps://.")
    if not DEFAULT_FROM_EMAIL:
        raise ImproperlyConfigured("EMAIL_URL is set, so EMAIL_FROM must be, too.")
    EMAIL_HOST = _mail.hostname
    EMAIL_USE_SSL = _mail.scheme == "smtps"
    EMAIL_USE_TLS = not EMAIL_USE_SSL and EMAIL_HOST not in {"localhost", "127.0.0.1", "::1"}
    EMAIL_PORT = _mail.port or (465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
    EMAIL_HOST_USER = unquote(_mail.username or "")
    EMAIL_HOST_PASSWORD = unquote(_mail.password or "")

# --- Notifications --------------------------------------------------------------------------------
# What links in notifications begin with.
SITE_URL = env_text("SITE_URL", f"http://{BIND}").rstrip("/")
if urlsplit(SITE_URL).scheme not in {"http", "https"} or not urlsplit(SITE_URL).hostname:
    raise ImproperlyConfigured(f"SITE_URL is {SITE_URL}; it must be like https://batch.example.com")
# Names of hosts, and networks, that webhooks and chats may reach although they are private.
NOTIFY_PRIVATE_HOSTS = env_list("NOTIFY_PRIVATE_HOSTS")

# --- Accounts -------------------------------------------------------------------------------------
# Who has to sign in with a second factor.
REQUIRE_TWO_FACTOR = env_choice("REQUIRE_TWO_FACTOR", "off", "administrators", "all")
# Single sign-on by OpenID Connect.
OIDC_NAME = env_text("OIDC_NAME", "Single sign-on")
OIDC_ISSUER = env_text("OIDC_ISSUER")
OIDC_CLIENT_ID = env_text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env_secret("OIDC_CLIENT_SECRET", env_text("OIDC_CLIENT_SECRET_FILE"))
OIDC_GROUPS_CLAIM = env_text("OIDC_GROUPS_CLAIM", "groups")
OIDC_ALLOWED_GROUPS = env_list("OIDC_ALLOWED_GROUPS")
OIDC_ADMIN_GROUP = env_text("OIDC_ADMIN_GROUP")
OIDC_APPROVER_GROUP = env_text("OIDC_APPROVER_GROUP")
OIDC_AUDITOR_GROUP = env_text("OIDC_AUDITOR_GROUP")
HAS_SSO = bool(OIDC_ISSUER)
if HAS_SSO:
    _issuer = urlsplit(OIDC_ISSUER)
    _is_here = _issuer.hostname in {"localhost", "127.0.0.1", "::1"}
    if _issuer.scheme != "https" and not (_issuer.scheme == "http" and _is_here):
        raise ImproperlyConfigured(
            f"OIDC_ISSUER is {OIDC_ISSUER}; it must start with https:// "
            "(http:// is allowed for this machine only)."
        )
    if not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
        raise ImproperlyConfigured(
            "OIDC_ISSUER is set, so OIDC_CLIENT_ID and OIDC_CLIENT_SECRET must be, too."
        )

# django-allauth signs people in; see also sign_in.py. Its own pages are never shown.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: it refuses before a password is hashed
    "allauth.account.auth_backends.AuthenticationBackend",
]
# What allauth counts by; memory would be that of one web process.
CACHES = {
    "default": {
        "BACKEND": "jobs.web.shared_cache.SharedCache",
        "LOCATION": str(DATA_DIR / "cache"),
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}
# Browsers have passkeys over https only, and on this machine.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "sso",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {
                    "server_url": OIDC_ISSUER.rstrip("/"),
                    # What the server says of itself must not change who issues its tokens.
                    "openid_configuration_overrides": {"issuer": OIDC_ISSUER},
                },
            }
        ]
        if HAS_SSO
        else [],
    }
}

# --- Django ---------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "axes",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    # A tenth of what any command imports, so only where people sign in this way.
    *(["allauth.socialaccount.providers.openid_connect"] if HAS_SSO else []),
    "allauth.usersessions",
    "jobs",
]
MIDDLEWARE = [
    "jobs.web.probes.answer_probes",
    "jobs.web.middleware.request_id",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "jobs.web.middleware.room_to_sign_in",
    "jobs.web.middleware.audit_origin",
    "jobs.web.middleware.content_security_policy",
    "jobs.web.compression.compress_pages",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "jobs.web.middleware.same_version",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "jobs.web.request_limits.limit_requests",
    "jobs.web.account_middleware.session_limits",
    # Before the CSRF check, which reads the whole body: a stranger's upload is refused unread.
    "jobs.web.middleware.sign_in_required",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "jobs.web.account_middleware.two_factor_required",
    "jobs.web.account_middleware.auditors_change_nothing",
    "django_htmx.middleware.HtmxMiddleware",
    "jobs.web.middleware.time_zone",
    "jobs.web.middleware.prices_in_force",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "batchsite.urls"
WSGI_APPLICATION = "batchsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "libraries": {
                "chains": "jobs.web.templatetags.chains",
                "help": "jobs.web.templatetags.help",
                "navigation": "jobs.web.templatetags.navigation",
                "show": "jobs.web.templatetags.show",
            },
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
# Django-axes first: it refuses whoever has guessed too often before a password is hashed.
PASSWORD_HASHERS = ["jobs.web.password_hashing.BoundedHasher"]
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
# The pictures of the help lie beside its text.
STATICFILES_DIRS = [BASE_DIR / "static", ("docs-images", BASE_DIR / "docs" / "images")]
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "jobs.web.static_storage.StaticStorage"
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
        "huey_class": "jobs.worker.queue.PostgresHuey",
        "connection": {"dsn": DATABASE_URL},
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
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                # KiB in memory, and pages until the log is written back: a page that many slices
                # of rows change is written back once.
                "PRAGMA cache_size=-8000; PRAGMA wal_autocheckpoint=4000;",
            },
        }
    }
    _queue = {
        "huey_class": "jobs.worker.queue.SqliteHuey",
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
        "workers": 35,
        "worker_type": "thread",
        "graceful_signal": "TERM",
        "shutdown_timeout": 25,
    },
}

# --- Logs and monitoring --------------------------------------------------------------------------
LOG_FORMAT = env_choice("LOG_FORMAT", "text", "json")
LOGGING = logging_settings(LOG_FORMAT)
# Errors are sent there too, without cells, prompts and secrets. See error_reports.py.
SENTRY_DSN = env_text("SENTRY_DSN")
# With it, Prometheus reads /metrics; without it, there is no such page.
METRICS_TOKEN = env_secret("METRICS_TOKEN", env_text("METRICS_TOKEN_FILE"))
if METRICS_TOKEN and len(METRICS_TOKEN) < 16:
    raise ImproperlyConfigured("METRICS_TOKEN can be guessed; use 16 random characters or more.")
# Administrators are told when the newest backup is older; 0: never.
BACKUP_MAX_HOURS = env_number("BACKUP_MAX_HOURS", 0, least=0)

# --- Copies in object storage ---------------------------------------------------------------------
# s3://bucket/prefix: proven results, finished files and backups are copied there. Boto3 reads the
# credentials from the environment itself.
COPY_TO = copy_target(env_text("COPY_TO"))
S3_ENDPOINT_URL = env_text("S3_ENDPOINT_URL").rstrip("/")
if S3_ENDPOINT_URL:
    _storage = urlsplit(S3_ENDPOINT_URL)
    if (
        _storage.scheme not in {"http", "https"}
        or not _storage.hostname
        or _storage.username
        or _storage.path
    ):
        raise ImproperlyConfigured(
            "S3_ENDPOINT_URL must be like https://s3.example.com, without a path or a password."
        )
