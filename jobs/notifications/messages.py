"""What is sent: the same facts as a mail, as a webhook and as a chat message. Never a cell, a
prompt, an answer, a key, or words of the provider."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from decimal import Decimal
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr

import msgspec
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.urls import reverse

from ..models import Delivery, Notification, clock, is_administrator, outbox
from ..models.notifications import hide_jobs
from ..models.outbox import AccountMail
from ..rules.notification_events import EVENTS
from ..rules.plain_text import one_line
from .destinations import Sealed
from .protocol import Chat, Mail, Webhook


class Body(msgspec.Struct, frozen=True):
    """The body of a webhook. `cost` is in US dollars: what was charged, or is used of a limit, or
    the most that a job to be approved may cost; "0" in practice. `name` is that of the job; without
    a job, the sentence that the bell shows."""

    id: str
    event: str
    job: int | None
    name: str
    state: str
    rows: int
    problems: int
    cost: str
    url: str
    at: str


def url_of(one: Notification) -> str:
    path = reverse("job", args=[one.job_id]) if one.job_id else reverse("notifications")
    return f"{settings.SITE_URL}{path}"


def webhook(one: Notification, place: Sealed) -> Webhook:
    """Signed at the time of sending, so that a receiver can refuse what is old."""
    job = one.job
    body = Body(
        id=str(one.uid),
        event=one.event,
        job=one.job_id,
        name=job.name if job else one.title,
        state=job.state if job else "",
        rows=job.row_count if job else one.facts.rows,
        problems=one.facts.problems,
        cost=_cost(one),
        url=url_of(one),
        at=one.made_at.isoformat(timespec="seconds"),
    )
    text = msgspec.json.encode(body).decode()
    timestamp = str(int(clock.now().timestamp()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "batchsite",
        "X-Batchsite-Id": str(one.uid),
        "X-Batchsite-Timestamp": timestamp,
        "X-Batchsite-Signature": f"sha256={sign(place.secret, timestamp, text)}",
    }
    return Webhook(place.address, headers, text)


def _cost(one: Notification) -> str:
    if outbox.is_practice(one.job):
        return "0"
    cost = Decimal(one.facts.cost) if one.facts.cost else one.job.cost if one.job else Decimal(0)
    return format(cost.normalize(), "f")  # without zeros at its end, and without an exponent


def sign(secret: str, timestamp: str, body: str) -> str:
    """HMAC-SHA256, in hex, of the timestamp, a dot and the body."""
    return hmac.new(secret.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()


def chat(one: Notification, place: Sealed) -> Chat:
    body = "\n".join(filter(None, [_calls_nobody(one.detail), url_of(one)]))
    return Chat(place.address, _calls_nobody(one.title), body)


def _calls_nobody(text: str) -> str:
    """One line, in which @everyone and <!channel>, as in the name of a job, are only words."""
    return one_line(text).replace("@", "@\u200b").replace("<", "<\u200b")


def notification_mail(found: Sequence[Notification], to: str) -> Mail:
    """One mail about all of `found`: they are of one event."""
    first = found[0]
    subject = one_line(first.title)
    if len(found) > 1:
        subject = f"{len(found)} jobs are waiting for your approval"
    items = [(one_line(one.title), one_line(one.detail), url_of(one)) for one in found]
    chosen = f"{settings.SITE_URL}{reverse('notification_settings')}"
    text = render_to_string("mails/notification.txt", {"items": items, "settings": chosen})
    return mail(AccountMail(to, subject, text))


# Lines end as mail servers want it, some of which refuse others, and no byte has eight bits.
_AS_SENT = policy.SMTP.clone(cte_type="7bit")


def mail(content: AccountMail) -> Mail:
    made = EmailMessage(_AS_SENT)
    made["Subject"] = one_line(content.subject)[:200]
    made["From"] = settings.DEFAULT_FROM_EMAIL
    to = in_ascii(content.to)
    sender = in_ascii(parseaddr(settings.DEFAULT_FROM_EMAIL)[1])
    made["To"] = to
    made["Date"] = formatdate()
    made["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(content.text)
    return Mail(
        host=settings.EMAIL_HOST,
        port=settings.EMAIL_PORT,
        user=settings.EMAIL_HOST_USER,
        password=settings.EMAIL_HOST_PASSWORD,
        is_tls=settings.EMAIL_USE_SSL,
        starts_tls=settings.EMAIL_USE_TLS,
        sender=sender,
        to=to,
        message=bytes(made),
    )


def in_ascii(address: str) -> str:
    """An address as every mail server takes it: ann@xn--bcher-kva.de for ann@bücher.de."""
    name, at, domain = address.rpartition("@")
    try:
        return f"{name}{at}{domain.encode('idna').decode()}"
    except UnicodeError:
        return address  # sending says that it cannot be used


def account_mail(sealed: str) -> AccountMail | None:
    """A mail about an account; None for a reset link that nobody can use: no active account with a
    password has the address. Raises InvalidToken."""
    found = outbox.read_mail(sealed)
    if not found.site:
        return found
    having = User.objects.filter(email__iexact=found.to, is_active=True).order_by("pk")
    # Who comes by single sign-on only gets no password without an administrator.
    users = [user for user in having if user.has_usable_password()]
    if not users:
        return None
    texts = []
    to = users[0].email  # what was typed may only look like it to the database
    for user in (one for one in users if one.email.lower() == to.lower()):
        key = default_token_generator.make_token(user)
        values = {"uidb36": user_pk_to_url_str(user), "key": key}
        path = reverse("account_reset_password_from_key", kwargs=values)
        context = {"user": user, "password_reset_url": f"{found.site}{path}"}
        texts.append(render_to_string("mails/reset.txt", context).strip())
    return AccountMail(to, "Choose a new password", "\n\n".join(texts) + "\n")


def is_needed(delivery: Delivery) -> bool:
    """Whether there is still a reason to send it."""
    one = delivery.notification
    if one is None:
        try:
            return account_mail(delivery.sealed) is not None
        except InvalidToken:
            return True  # that it cannot be read is said when it is to be sent
    if not one.person.is_active:
        return False
    if EVENTS[one.event].for_administrators and not is_administrator(one.person):
        return False
    if one.event == "approval_wanted" and not (one.job and one.job.awaits_approval):
        return False
    # Whoever may no longer see a job is told nothing of it.
    hide_jobs([one], one.person)
    return not one.hides_job
