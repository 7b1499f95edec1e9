"""What was found in an upload, and corrected files that came after it."""

from __future__ import annotations

from django.db import models

from ..ingest.corrected_rows import Findings
from ..ingest.finding_kinds import asks, remedy_of, title_of
from ..ingest.request_fixes import fix_label
from ..ingest.shapes import Option
from ..rules.structs import reader_of
from .fields import StructField


class CorrectedUpload(models.Model):
    """The problem file of a finished job that was corrected and uploaded back, the latest one."""

    job = models.OneToOneField("Job", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=255)  # as its owner calls it
    file = models.CharField(max_length=64)  # as it lies among the uploads
    sha256 = models.CharField(max_length=64, default="")  # "": from a version that did not note it
    # None: it is to be read.
    found = StructField[Findings | None](reader_of(Findings), null=True)

    def __str__(self) -> str:
        return f"{self.name} for job {self.job_id}"


class FileProblem(models.Model):
    """All findings of one kind about the upload; kinds are those of ingest.finding_kinds."""

    job = models.ForeignKey("Job", on_delete=models.CASCADE, related_name="problems")
    kind = models.CharField(max_length=20, default="")
    count = models.IntegerField(default=1)
    # The first ones: their lines (0: the file as a whole), and each in words.
    lines = StructField[list[int]](reader_of(list[int]), default=list)
    texts = StructField[list[str]](reader_of(list[str]), default=list)
    leaves_out = models.BooleanField(default=False)  # the rows, or the file, cannot be sent
    fix = models.CharField(max_length=200, default="")  # a code for Choices.remedies
    # Other ways to read the file, parallel to `texts`; [] from an older version.
    options = StructField[list[list[Option]]](reader_of(list[list[Option]]), default=list)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.count} {self.kind}"

    @property
    def title(self) -> str:
        """What is wrong, in a sentence for all of them."""
        return title_of(self.kind, self.count, self.texts)

    @property
    def remedy(self) -> str:
        return remedy_of(self.kind)

    @property
    def asks(self) -> bool:
        """Whether a person should look before the job is priced."""
        return asks(self.kind)

    @property
    def fix_label(self) -> str:
        return fix_label(self.fix, self.count) if self.fix else ""

    @property
    def places(self) -> list[tuple[int, str]]:
        """The first ones: line (0: the file as a whole) and what is wrong there."""
        return list(zip(self.lines, self.texts, strict=True))

    @property
    def choices(self) -> list[tuple[int, str, list[tuple[str, Option]]]]:
        """The first ones as in `places`, each with its options under the names that they have in
        a form."""
        options = self.options or [[] for _text in self.texts]
        return [
            (line, text, [(f"{self.pk}-{at}-{n}", one) for n, one in enumerate(some)])
            for at, (line, text, some) in enumerate(
                zip(self.lines, self.texts, options, strict=True)
            )
        ]
