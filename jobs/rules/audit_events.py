"""The entries of the audit log in words."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Who did it stands before each.
EVENTS = {
    # Jobs.
    "rows_tested": "Tested rows",
    "better_prompt_requested": "Asked Claude for a better prompt",
    "job_submitted": "Submitted the job",
    "job_stopped": "Stopped the job",
    "rest_sent": "Sent the other rows after the pilot",
    "rest_sent_by_rule": "The rule of the pilot sent the other rows",
    "pilot_ended": "Stopped after the pilot to change the prompt",
    "job_resumed": "Resumed the job",
    "sending_resumed": "Tried to send again",
    "missing_answers_given_up": "Continued without the missing answers",
    "retry_submitted": "Retried rows",
    "approval_requested": "Asked for approval",
    "approval_given": "Approved the job",
    "approval_withdrawn": "Withdrew the request for approval",
    "approval_declined": "Declined to approve the job",
    "batch_looked_for": "Looked for a batch again",
    "batch_sent_again": "Sent a batch again",
    "batch_identified": "Said which batch it is",
    "batch_imported": "Imported a batch made elsewhere",
    "rows_used": "Used the job’s rows in a new job",
    # Files.
    "file_downloaded": "Downloaded a file",
    "spending_downloaded": "Downloaded the spending of everyone",
    "audit_log_downloaded": "Downloaded the audit log",
    # Deletion and retention.
    "job_trashed": "Moved the job to the trash",
    "job_restored": "Restored the job from the trash",
    "job_deletion_requested": "Deleted the job for good",
    "trash_emptied": "Deleted the job after 30 days in the trash",
    "job_deleted": "Finished deleting the job",
    "retention_changed": "Changed how long data is kept",
    "job_retention_changed": "Changed how long the job’s data is kept",
    "job_contents_deleted": "Deleted the job’s cells and answers",
    "batch_deleted_at_provider": "Deleted a batch at Anthropic",
    "person_data_erased": "Moved all of a person’s data to the trash",
    "person_name_erased": "Erased a person’s name",
    # Accounts.
    "signed_in": "Signed in",
    "signed_out": "Signed out",
    "sign_in_failed": "Failed to sign in",
    "sign_in_locked": "Was locked out after too many attempts",
    "password_not_confirmed": "Gave a wrong password to confirm who they are",
    "second_step_failed": "Failed at the second step of signing in",
    "second_step_not_confirmed": "Gave a wrong code to confirm who they are",
    "passkey_refused": "Failed to sign in with a passkey",
    "single_sign_on_refused": "Was refused after single sign-on",
    "deactivated_refused": "Tried to sign in to a deactivated account",
    "person_added": "Added a person",
    "person_invited": "Invited a person",
    "invitation_accepted": "Accepted an invitation",
    "invitation_withdrawn": "Withdrew an invitation",
    "mail_changed": "Changed an email address",
    "password_changed": "Changed a password",
    "password_reset": "Reset a password",
    "reset_link_made": "Made a link to reset a password",
    "two_factor_reset": "Removed a person’s two-factor sign-in",
    "sessions_ended": "Signed out other devices",
    "person_deactivated": "Deactivated a person",
    "person_reactivated": "Reactivated a person",
    "role_changed": "Changed a role",
    "jobs_handed_over": "Handed over a person’s jobs",
    "two_factor_added": "Added two-factor sign-in",
    "two_factor_removed": "Removed two-factor sign-in",
    "recovery_codes_created": "Created recovery codes",
    "passkey_added": "Added a passkey",
    "passkey_removed": "Removed a passkey",
    "single_sign_on_linked": "Linked single sign-on",
    "single_sign_on_unlinked": "Unlinked single sign-on",
    "destination_added": "Added a webhook or chat",
    "destination_removed": "Removed a webhook or chat",
    "team_created": "Created a team",
    "team_changed": "Changed a team",
    "team_deleted": "Deleted a team",
    "job_shared": "Changed who can see the job",
    "template_shared": "Changed which team can use a template",
    # The site.
    "api_key_changed": "Changed the API key",
    "api_key_removed": "Removed the API key of a team",
    "limits_changed": "Changed the limits",
    "quotas_changed": "Changed the quotas",
    "spending_stopped": "Stopped all spending",
    "spending_allowed": "Allowed spending again",
    "price_entered": "Entered a price",
    "price_withdrawn": "Withdrew a price",
    "template_sharing_changed": "Changed who can use a template",
    "template_restored": "Restored an earlier version of a template",
    "template_deleted": "Deleted a template",
    "recovery_requested": "Looked for batches sent after the backup",
    "backup_made": "Made a backup",
    "backup_restored": "Restored a backup",
    "site_upgraded": "Upgraded the site",
}
# The names of values, where they do not speak for themselves.
VALUES = {
    "most_a_job": "limit per job",
    "most_a_person": "limit per person per month",
    "most_a_month": "total limit per month",
    "approval_above": "approval above",
    "most_usd": "at most ($)",
    "input_usd": "input ($)",
    "output_usd": "output ($)",
    "owner": "owner: person",
    "approved_by": "approved by: person",
    "made_at": "backup made at",
}
AMOUNT = re.compile(r"-?\d+\.\d{3,}")
LONGEST_SHOWN = 60  # characters of a value; hashes are shortened


def event_in_words(event: str) -> str:
    """One that is not listed is told by its name."""
    return EVENTS.get(event) or event.replace("_", " ").capitalize()


def values_in_words(values: Mapping[str, object]) -> list[str]:
    """ "limit per job: 5.00" """
    return [f"{value_name(name)}: {value_in_words(value)}" for name, value in values.items()]


def value_name(name: str) -> str:
    return VALUES.get(name) or name.replace("_", " ")


def value_in_words(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    if AMOUNT.fullmatch(text):  # "0.004032710000": the database adds zeros
        text = text.rstrip("0").rstrip(".")
    return text if len(text) <= LONGEST_SHOWN else f"{text[:12]}…"
