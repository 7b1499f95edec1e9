"""What a person chooses to be told, and where."""

from __future__ import annotations

from typing import Any

from django import forms

from ...models import Channel
from ...notifications.destinations import LONGEST_SECRET
from ...notifications.guard import LONGEST_URL
from .styled import StyledForm

KINDS = [(Channel.WEBHOOK, "Webhook"), (Channel.APPRISE, "Slack, Teams, Discord, ntfy …")]


class DestinationForm(StyledForm):
    channel = forms.ChoiceField(
        label="Kind", choices=KINDS, widget=forms.RadioSelect, initial=Channel.WEBHOOK
    )
    address = forms.CharField(
        max_length=LONGEST_URL,
        help_text="Copy it from the service, or use an Apprise address. We never show it again.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    secret = forms.CharField(
        required=False,
        max_length=LONGEST_SECRET,
        help_text="We sign webhooks with it. Leave it empty and we create one.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, events: list[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["events"] = forms.MultipleChoiceField(
            label="Choose what to send",
            choices=events,
            initial=[name for name, _label in events],
            widget=forms.CheckboxSelectMultiple,
            error_messages={"required": "Choose at least one."},
        )
