"""How far each person has come in the tour of the site."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models


class TourQuerySet(models.QuerySet["Tour"]):
    def step_of(self, user: User) -> int:
        """The step that `user` has reached; 1 for people who have not begun."""
        return self.filter(user=user).values_list("step", flat=True).first() or 1

    def advance(self, user: User, step: int) -> bool:
        """Go on to `step`; False when it was reached before. Nobody goes back."""
        self.get_or_create(user=user)
        return bool(self.filter(user=user, step__lt=step).update(step=step))


class Tour(models.Model):
    """Without one, a person is at the first step."""

    STEPS = 3
    OVER = STEPS + 1

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    step = models.PositiveSmallIntegerField(default=1)

    objects = TourQuerySet.as_manager()

    def __str__(self) -> str:
        return f"tour of {self.user_id} at {self.step}"
