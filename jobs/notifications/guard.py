"""Where notifications may go: the one guard against addresses inside of this network.

People enter addresses of webhooks and chats, and the server calls them: without a guard, they
could reach what only the server reaches. A name is resolved once, each of its addresses is looked
at, and the connection goes to one of these. Only the standard library: it runs in the sender's
process.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

LONGEST_URL = 2_000
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# IPv6 addresses that stand for an IPv4 address in their last 32 bits.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What IPv6 gives to the public. All else is reserved, or means something within a network.
_PUBLIC_6 = (ipaddress.IPv6Network("2000::/3"), _NAT64)
# Not public, whatever Python's own list says: it differs between versions.
_NOT_PUBLIC = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "2001:db8::/32"))
)


class Refused(Exception):
    """Nothing is sent there; the message says why, for people. `about`: "address", "secret", or ""
    for all of it."""

    def __init__(self, why: str, about: str = "address") -> None:
        super().__init__(why)
        self.about = about


PRIVATE = (
    "This address is inside a private network. Your administrator can allow it with "
    "NOTIFY_PRIVATE_HOSTS."
)


@dataclass(frozen=True)
class Guard:
    """`allowed`: names of hosts, and networks such as 10.1.0.0/16, that may be reached although
    they are not public. A name is allowed with every address that it has."""

    allowed: Sequence[str] = ()

    def allows_host(self, host: str) -> bool:
        return host.rstrip(".").lower() in {one.lower() for one in self.allowed}

    def allows(self, text: str) -> bool:
        """Whether an address, written as a socket has it, may be connected to."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        if any(network and address in network for network in map(_network, self.allowed)):
            return True
        return all(map(_is_public, [address, *_meant(address)]))

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of which may be connected to. Raises Refused, and OSError
        for a name that has none."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError("not a name") from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        if not self.allows_host(host) and not all(map(self.allows, addresses)):
            raise Refused(PRIVATE)
        return addresses


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _meant(address: IPAddress) -> list[IPAddress]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    meant: list[IPAddress | None] = [address.ipv4_mapped, address.sixtofour]
    meant += address.teredo or ()
    if address in _NAT64:
        meant.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [one for one in meant if one is not None]


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return True  # decided by what it stands for
        if not any(address in network for network in _PUBLIC_6):
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NOT_PUBLIC)
    )


# --- Addresses as people write them ---------------------------------------------------------------


def check_webhook(url: str, guard: Guard) -> SplitResult:
    """The parts of a webhook's URL. Raises Refused. Asks nobody for the name."""
    parts = _split(url)
    if parts.scheme not in ("https", "http"):
        raise Refused("Enter an address that starts with https://.")
    if parts.username is not None or parts.password is not None:
        raise Refused("Leave the user name and the password out of the address.")
    if not parts.hostname or parts.port == 0:
        raise Refused("Enter a whole address, such as https://example.com/hook.")
    if parts.scheme == "http" and not _is_allowed(parts.hostname, guard):
        raise Refused("Enter an address that starts with https://.")
    if _is_number(parts.hostname) and not guard.allows(parts.hostname):
        raise Refused(PRIVATE)
    return parts


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_allowed(host: str, guard: Guard) -> bool:
    """Whether an administrator allowed a host by its name or its address."""
    if guard.allows_host(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(network and address in network for network in map(_network, guard.allowed))


def _split(url: str) -> SplitResult:
    """Raises Refused."""
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise Refused("This is not an address. Copy it as the service shows it.")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it raises ValueError
    except ValueError:
        raise Refused("This is not an address. Copy it as the service shows it.") from None
    if "\\" in parts.netloc:
        raise Refused("This is not an address. Copy it as the service shows it.")
    return parts


# Chat services, by the scheme of their URLs for Apprise: the module and class of the plugin. The
# plugins of Apprise also run programs, write files and talk to the desktop; those are not here.
CHATS: dict[str, tuple[str, str, str]] = {
    "slack": ("slack", "NotifySlack", "Slack"),
    "workflow": ("workflows", "NotifyWorkflows", "Teams"),
    "workflows": ("workflows", "NotifyWorkflows", "Teams"),
    "discord": ("discord", "NotifyDiscord", "Discord"),
    "ntfy": ("ntfy", "NotifyNtfy", "ntfy"),
    "ntfys": ("ntfy", "NotifyNtfy", "ntfy"),
    "gchat": ("google_chat", "NotifyGoogleChat", "Google Chat"),
    "mmost": ("mattermost", "NotifyMattermost", "Mattermost"),
    "mmosts": ("mattermost", "NotifyMattermost", "Mattermost"),
    "json": ("custom_json", "NotifyJSON", "JSON"),
    "jsons": ("custom_json", "NotifyJSON", "JSON"),
}
# The addresses that the services themselves show: which plugin reads them, by the end of the host.
NATIVE = {
    "hooks.slack.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ntfy.sh": "ntfys",
    "chat.googleapis.com": "gchat",
    ".logic.azure.com": "workflows",
    ".api.powerplatform.com": "workflows",
}
# They read files, skip checks, or make the plugin send more than once.
REFUSED_OPTIONS = frozenset(
    ("template", "attach", "filename", "retry", "wait", "redirect", "verify", "store", "optional")
)


def chat_of(url: str) -> str:
    """The scheme in CHATS whose plugin sends to `url`. Raises Refused."""
    parts = _split(url)
    options = {name.lower().lstrip("+-: ") for name, _value in parse_qsl(parts.query, True)}
    if refused := sorted(options & REFUSED_OPTIONS):
        raise Refused(f"Remove “{refused[0]}” from the address: it is not allowed here.")
    scheme = parts.scheme.lower()
    if scheme == "https":
        host = (parts.hostname or "").lower()
        ends = [end for end in NATIVE if host == end or (end[0] == "." and host.endswith(end))]
        if ends:
            return NATIVE[ends[0]]
    if scheme not in CHATS:
        raise Refused("Enter an address of Slack, Teams, Discord, ntfy, Google Chat or Mattermost.")
    return scheme
