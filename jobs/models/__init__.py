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

from .accuracy import Difference, GoldStandard, GoldStandardQuerySet, RightAnswer
from .alarms import Alarm, AlarmQuerySet, WorkerProcess
from .audit import AuditEntry
from .batches import Absence, Batch, BatchQuerySet, DisownedBatch, LateBatch
from .chains import AnswersVersion, JobSource
from .copies import StoredCopy, StoredCopyQuerySet
from .events import JobEvent, SubmissionDetail, SubmissionEvent
from .exports import Export
from .jobs import AWAITS_APPROVAL, LONGEST_LEASE, LONGEST_WAIT, Job, JobQuerySet
from .memory import AskedRecipe, Source, find_sources, note_asked, reusable_jobs
from .money import MOST, PICO, dollars, pico
from .notifications import (
    Channel,
    Delivery,
    Destination,
    Follower,
    Notification,
    NotificationChoices,
)
from .outcomes import ATTENTION, FAILED, NOT_GOOD, Outcome
from .people import (
    Access,
    Invitation,
    Membership,
    Profile,
    Role,
    Team,
    administrators,
    approving_people,
    hash_token,
    is_administrator,
    is_erased,
    is_reserved_name,
    name_of_erased,
    only_reads,
    role_of,
    sees_everything,
)
from .pilots import PILOT_IS_IN, Pilot, find_pilot
from .querysets import NotMoved, StateQuerySet
from .quotas import RoleQuota
from .recipes import (
    answer_kind_of,
    answer_shape_of,
    recipe_of,
    recipe_of_round,
    trial_key,
)
from .reviews import SampledAnswer
from .rounds import Round
from .row_versions import COUNT_ANEW, note_change
from .rows import (
    SEARCHED,
    Attempt,
    ChangeDetail,
    Edit,
    Row,
    RowChange,
    RowQuerySet,
    containing,
    forms_of,
)
from .search import SearchIndex, SearchIndexQuerySet, SearchPart
from .site import (
    ONE_ROW_MODELS,
    SPENDING_IS_STOPPED,
    AuditCheck,
    AuditHead,
    CopyState,
    ExternalBatchList,
    Heartbeat,
    Installation,
    JournalState,
    LastBackup,
    ModelCatalog,
    Retention,
    Sending,
    SendingState,
    SiteState,
    SpendingCaps,
    TeamSending,
    fingerprint_of,
    fingerprint_of_owner,
    key_fingerprint,
    sending_of,
    sending_row,
)
from .spending import PastSpending, PriceOverride
from .templates import BY_NAME, Template, TemplateQuerySet, TemplateVersion
from .tours import Tour
from .trials import Length, Trial, TrialQuerySet
from .uploads import CorrectedUpload, FileProblem

__all__ = [
    "ATTENTION",
    "AWAITS_APPROVAL",
    "BY_NAME",
    "COUNT_ANEW",
    "FAILED",
    "LONGEST_LEASE",
    "LONGEST_WAIT",
    "MOST",
    "NOT_GOOD",
    "ONE_ROW_MODELS",
    "PICO",
    "PILOT_IS_IN",
    "SEARCHED",
    "SPENDING_IS_STOPPED",
    "Absence",
    "Access",
    "Alarm",
    "AlarmQuerySet",
    "AnswersVersion",
    "AskedRecipe",
    "Attempt",
    "AuditCheck",
    "AuditEntry",
    "AuditHead",
    "Batch",
    "BatchQuerySet",
    "ChangeDetail",
    "Channel",
    "CopyState",
    "CorrectedUpload",
    "Delivery",
    "Destination",
    "Difference",
    "DisownedBatch",
    "Edit",
    "Export",
    "ExternalBatchList",
    "FileProblem",
    "Follower",
    "GoldStandard",
    "GoldStandardQuerySet",
    "Heartbeat",
    "Installation",
    "Invitation",
    "Job",
    "JobEvent",
    "JobQuerySet",
    "JobSource",
    "JournalState",
    "LastBackup",
    "LateBatch",
    "Length",
    "Membership",
    "ModelCatalog",
    "NotMoved",
    "Notification",
    "NotificationChoices",
    "Outcome",
    "PastSpending",
    "Pilot",
    "PriceOverride",
    "Profile",
    "Retention",
    "RightAnswer",
    "Role",
    "RoleQuota",
    "Round",
    "Row",
    "RowChange",
    "RowQuerySet",
    "SampledAnswer",
    "SearchIndex",
    "SearchIndexQuerySet",
    "SearchPart",
    "Sending",
    "SendingState",
    "SiteState",
    "Source",
    "SpendingCaps",
    "StateQuerySet",
    "StoredCopy",
    "StoredCopyQuerySet",
    "SubmissionDetail",
    "SubmissionEvent",
    "Team",
    "TeamSending",
    "Template",
    "TemplateQuerySet",
    "TemplateVersion",
    "Tour",
    "Trial",
    "TrialQuerySet",
    "WorkerProcess",
    "administrators",
    "answer_kind_of",
    "answer_shape_of",
    "approving_people",
    "containing",
    "dollars",
    "find_pilot",
    "find_sources",
    "fingerprint_of",
    "fingerprint_of_owner",
    "forms_of",
    "hash_token",
    "is_administrator",
    "is_erased",
    "is_reserved_name",
    "key_fingerprint",
    "name_of_erased",
    "note_asked",
    "note_change",
    "only_reads",
    "pico",
    "recipe_of",
    "recipe_of_round",
    "reusable_jobs",
    "role_of",
    "sees_everything",
    "sending_of",
    "sending_row",
    "trial_key",
]
