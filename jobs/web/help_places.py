"""Which part of the help the "?" of a page opens: the only place that says so."""

from __future__ import annotations

from ..models import Job

# Each place in the docs with the addresses (by name, see urls.py) whose pages it explains. An
# address that only changes something is here too: it shows its page again when something is wrong.
EXPLAINED = {
    "using/jobs": ("jobs", "job", "status", "rename", "change_jobs", "archive"),
    "using/jobs#use-the-answers-in-a-new-job": ("next_step", "update_rows"),
    "using/jobs#delete-a-job": ("delete", "trash", "restore"),
    "using/jobs#stop-a-job": ("stop",),
    "using/jobs#look-at-single-rows": ("rows", "row"),
    "using/jobs#send-some-rows-first": ("continue_job", "end_pilot"),
    "using/jobs#when-we-need-you": (
        "try_again",
        "send_now",
        "finish_without",
        "look_again",
        "send_again",
        "this_is_it",
    ),
    "using/files": ("new_job", "new_sample_job", "new_pasted_job", "sample", "example"),
    "using/files#how-your-file-is-read": ("reading",),
    "using/files#rows-that-cannot-be-sent": ("replace",),
    "using/files#correcting-rows": ("correct",),
    "using/requests#reuse-answers": ("reuse_answers",),
    "using/requests#a-batch-made-elsewhere": ("import_batch", "import_batch_look", "ids"),
    "using/files#the-finished-file": ("download", "batch_raw"),
    "using/prompts": ("recipe",),
    "using/prompts#test-a-few-rows": (
        "start_trials",
        "trials",
        "compare",
        "use_trial",
        "use_example",
        "mark_trial",
        "improve",
    ),
    "using/prompts#choose-the-rows": ("choose_rows",),
    "using/prompts#private-columns": ("mark_private",),
    "using/prompts#pay-less": ("take_advice",),
    "using/prompts#use-a-prompt-again": (
        "columns",
        "save_as_template",
        "templates",
        "template_rename",
        "template_share",
        "template_delete",
        "template_history",
    ),
    "using/costs#before-you-submit": ("price", "confirm"),
    "running/settings#the-key-and-practice-mode": ("api_key",),
    "using/costs#prices": ("spending_prices",),
    "using/costs#limits": (
        "spending",
        "spending_limits",
        "spending_switch",
        "spending_quotas",
        "spending_csv",
    ),
    "using/costs#after-the-job": ("receipt",),
    "using/problems": ("problems", "change_rows", "ignore_rows"),
    "using/problems#change-the-prompt-for-some-rows": ("change_prompt",),
    "using/problems#edit-rows": ("edits", "upload_edits", "edit_row"),
    "using/problems#retry": ("retry",),
    "using/quality": ("review", "mark_answer"),
    "using/quality#all-answers": ("answer_counts",),
    "using/quality#right-answers": ("accuracy", "differences", "right_answers"),
    "using/quality#compare-models-and-prompts": ("compare_versions",),
    "using/sign-in": (
        "login",
        "logout",
        "help_sign_in",
        "invitation",
        "account_inactive",
        "account_reset_password",
        "account_reset_password_done",
        "account_reset_password_from_key",
        "account_reset_password_from_key_done",
    ),
    "using/sign-in#your-account": (
        "account",
        "account_mail",
        "usersessions_list",
        "account_reauthenticate",
    ),
    "using/sign-in#two-factor-sign-in": (
        "mfa_index",
        "mfa_authenticate",
        "mfa_reauthenticate",
        "mfa_activate_totp",
        "mfa_deactivate_totp",
        "mfa_view_recovery_codes",
        "mfa_generate_recovery_codes",
        "mfa_add_webauthn",
        "mfa_edit_webauthn",
        "mfa_remove_webauthn",
        "mfa_reauthenticate_webauthn",
    ),
    "using/sign-in#single-sign-on": (
        "socialaccount_connections",
        "openid_connect_login",
        "openid_connect_callback",
    ),
    "using/notifications": ("notifications", "notifications_read", "follow"),
    "using/notifications#choose-what-you-get": ("notification_settings",),
    "using/notifications#webhooks-and-chats": (
        "notification_add",
        "notification_test",
        "notification_remove",
    ),
    "using/sign-in#people-and-teams": ("share_job", "template_team"),
    "using/sign-in#the-first-account": ("setup",),
    "using/sign-in#your-password": ("password",),
    "running/privacy": ("retention", "job_retention"),
    "running/monitoring#the-system-page": ("system",),
    "running/audit": ("audit", "audit_check", "audit_csv"),
    "running/people#invite-people": ("people", "invitation_withdraw", "person_password"),
    "running/people#roles": ("person", "person_role", "person_two_factor"),
    "running/people#teams": ("teams", "new_team", "team"),
    "running/people#a-key-for-a-team": ("team_key",),
    "running/people#when-a-person-leaves": ("person_active", "hand_over"),
    "running/privacy#erase-a-person": ("erase_person",),
    "running/backup#batches-sent-after-the-backup": ("restored", "restored_look", "restored_seen"),
}
# The page of a job is another one in each state.
BY_STATE: dict[str, str] = {
    Job.State.READING: "using/files#how-your-file-is-read",
    Job.State.UNREADABLE: "using/files#rows-that-cannot-be-sent",
    Job.State.DRAFT: "using/prompts",
    Job.State.SUBMITTING: "using/jobs#while-a-job-runs",
    Job.State.WORKING: "using/jobs#while-a-job-runs",
    Job.State.CANCELING: "using/jobs#stop-a-job",
    Job.State.FINISHED: "using/jobs#when-a-job-has-finished",
}
PLACES = {name: place for place, names in EXPLAINED.items() for name in names}


def place_of(url_name: str, state: str = "") -> str:
    """ "using/costs#limits"; "" for a page that has no help of its own. `state`: of the job that
    the page "job" is about."""
    if url_name == "job" and state in BY_STATE:
        return BY_STATE[state]
    return PLACES.get(url_name, "")
