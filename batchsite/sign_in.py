"""Settings around the sign-in that no operator chooses; settings.py takes in all of them."""

from __future__ import annotations

ACCOUNT_ADAPTER = "jobs.web.account_adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_REDIRECT_URL = "login"
ACCOUNT_REAUTHENTICATION_TIMEOUT = 600
# "login_failed" counts wrong codes only: see AccountAdapter.pre_authenticate.
ACCOUNT_RATE_LIMITS = {
    "login_failed": "10/5m/key",
    "reauthenticate": "10/m/user",
    "reset_password": "20/m/ip,5/m/key",
    "reset_password_from_key": "20/m/ip",
    "login": False,
    "signup": False,
}
ACCOUNT_FORMS = {
    "reset_password": "jobs.web.forms.accounts.ForgottenPasswordForm",
    "reset_password_from_key": "jobs.web.forms.accounts.NewPasswordForm",
    "reauthenticate": "jobs.web.forms.accounts.ReauthenticateForm",
}
PASSWORD_RESET_TIMEOUT = 24 * 3600
MFA_ADAPTER = "jobs.web.account_adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "batchsite"
MFA_TOTP_TOLERANCE = 1  # clocks of phones are wrong by up to 30 seconds
MFA_FORMS = {
    "authenticate": "jobs.web.forms.accounts.CodeForm",
    "reauthenticate": "jobs.web.forms.accounts.CodeAgainForm",
    "authenticate_webauthn": "jobs.web.forms.accounts.PasskeyForm",
    "reauthenticate_webauthn": "jobs.web.forms.accounts.PasskeyAgainForm",
    "login_webauthn": "jobs.web.forms.accounts.PasskeySignInForm",
    "activate_totp": "jobs.web.forms.accounts.ActivateAppForm",
    "add_webauthn": "jobs.web.forms.accounts.AddPasskeyForm",
    "edit_webauthn": "jobs.web.forms.accounts.RenamePasskeyForm",
}
SOCIALACCOUNT_ADAPTER = "jobs.web.account_adapters.SingleSignOnAdapter"
SOCIALACCOUNT_REAUTHENTICATION_REQUIRED = True  # to link another account, or remove the link
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form may lead to this site only, by the content policy
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
AXES_HANDLER = "jobs.web.sign_in_limits.SignInHandler"
AXES_LOCKOUT_CALLABLE = "jobs.web.sign_in_limits.show_lock"
AXES_CLIENT_IP_CALLABLE = "jobs.web.middleware.client_address"
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # a refused attempt is marked as such
AXES_VERBOSE = False
MESSAGE_STORAGE = "jobs.web.message_storage.MessageStorage"
