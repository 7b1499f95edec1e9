"""Forms as the site shows them: each control with its style and what is wrong with it."""

from __future__ import annotations

from typing import Any

from django import forms

_CONTROLS = {
    forms.RadioSelect: "form-check-input",
    forms.Select: "form-select",
    forms.CheckboxInput: "form-check-input",
}


class StyledField(forms.BoundField):
    """A field with the stylesheet's classes on its control."""

    def build_widget_attrs(
        self, attrs: dict[str, Any], widget: forms.Widget | None = None
    ) -> dict[str, Any]:
        attrs = super().build_widget_attrs(attrs, widget)
        widget = widget or self.field.widget
        css = next((css for kind, css in _CONTROLS.items() if isinstance(widget, kind)), "")
        css = css or "form-control"
        return {**attrs, "class": f"{css} is-invalid" if self.errors else css}


class StyledForm(forms.Form):
    bound_field_class = StyledField


def shorten(text: str, most: int) -> str:
    """What can be stored of a text that was typed in, with one character more than is possible, so
    that this can be said."""
    return text.replace("\0", "").strip()[: most + 1]
