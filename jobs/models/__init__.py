"""What is stored: one upload with one recipe is a Job, its lines are Rows, and what was sent to the
provider are Batches. The database is the truth; the queue only says when to look at it.

A job::

    reading -> draft -> submitting -> working -> finished -> (deleting)
       |                    \\             \\
       v                     +-> canceling -+-> finished
    unreadable

A batch::

    planning -> planned -> submitting -> in_progress -> ended -> collected
                              |    \\
                              |     +-> unknown -> in_progress (recovered) | planned (never arrived)
                              +-> planned (clearly refused for now) | blocked (clearly refused)
    stopped: planned, blocked -> canceled; what the provider no longer has -> lost

Every change of state is one conditional UPDATE (`move`): whoever changes no row came second. That
a person is needed is no state of its own; `Job.held` says why.
"""

from __future__ import annotations

from .batches import Absence, Batch, BatchQuerySet, DisownedBatch, LateBatch
from .events import JobEvent, SubmissionDetail, SubmissionEvent
from .exports import Export
from .jobs import AWAITS_APPROVAL, LONGEST_LEASE, LONGEST_WAIT, Job, JobQuerySet, note_change
from .money import MOST, PICO, dollars, pico
from .outcomes import ATTENTION, FAILED, NOT_GOOD, Outcome
from .querysets import NotMoved, StateQuerySet
from .recipes import (
    answer_kind_of,
    answer_shape_of,
    recipe_of,
    recipe_of_round,
    trial_key,
)
from .reviews import SampledAnswer
from .rounds import Round
from .rows import Attempt, ChangeDetail, Edit, Row, RowChange, RowQuerySet, containing
from .site import (
    ONE_ROW_MODELS,
    SPENDING_IS_STOPPED,
    ExternalBatchList,
    Heartbeat,
    Installation,
    JournalState,
    ModelCatalog,
    Sending,
    SiteState,
    SpendingCaps,
    key_fingerprint,
)
from .spending import PastSpending, PriceOverride
from .templates import BY_NAME, Template, TemplateQuerySet
from .trials import Length, Trial, TrialQuerySet
from .uploads import CorrectedUpload, FileProblem

__all__ = [
    "ATTENTION",
    "AWAITS_APPROVAL",
    "BY_NAME",
    "FAILED",
    "LONGEST_LEASE",
    "LONGEST_WAIT",
    "MOST",
    "NOT_GOOD",
    "ONE_ROW_MODELS",
    "PICO",
    "SPENDING_IS_STOPPED",
    "Absence",
    "Attempt",
    "Batch",
    "BatchQuerySet",
    "ChangeDetail",
    "CorrectedUpload",
    "DisownedBatch",
    "Edit",
    "Export",
    "ExternalBatchList",
    "FileProblem",
    "Heartbeat",
    "Installation",
    "Job",
    "JobEvent",
    "JobQuerySet",
    "JournalState",
    "LateBatch",
    "Length",
    "ModelCatalog",
    "NotMoved",
    "Outcome",
    "PastSpending",
    "PriceOverride",
    "Round",
    "Row",
    "RowChange",
    "RowQuerySet",
    "SampledAnswer",
    "Sending",
    "SiteState",
    "SpendingCaps",
    "StateQuerySet",
    "SubmissionDetail",
    "SubmissionEvent",
    "Template",
    "TemplateQuerySet",
    "Trial",
    "TrialQuerySet",
    "answer_kind_of",
    "answer_shape_of",
    "containing",
    "dollars",
    "key_fingerprint",
    "note_change",
    "pico",
    "recipe_of",
    "recipe_of_round",
    "trial_key",
]
