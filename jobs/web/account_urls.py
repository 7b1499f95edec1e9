"""The addresses of accounts that django-allauth serves, by its names for them. Those that are not
here do not exist: a page of allauth's needs a template of ours."""

from __future__ import annotations

from allauth.account import views as account
from allauth.mfa.base import views as two_factor
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from allauth.socialaccount import views as single_sign_on
from django.urls import path, re_path

from . import openid_connect
from .audited_sign_in import audited
from .views import accounts, your_account

urlpatterns = [
    path("login/", accounts.login, name="account_login"),
    path("logout/", accounts.logout, name="account_logout"),
    path("password/", accounts.password, name="account_change_password"),
    path("account/", your_account.account, name="account"),
    path("account/inactive/", accounts.inactive, name="account_inactive"),
    path("account/mail/", your_account.mail, name="account_mail"),
    path("account/sessions/", your_account.sessions, name="usersessions_list"),
    path("account/password/forgotten/", accounts.forgotten, name="account_reset_password"),
    path(
        "account/password/forgotten/sent/",
        account.password_reset_done,
        name="account_reset_password_done",
    ),
    path(
        "account/password/new/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^account/password/new/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[-0-9A-Za-z]+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("account/confirm/", account.reauthenticate, name="account_reauthenticate"),
    path("account/two-factor/", your_account.two_factor, name="mfa_index"),
    path("account/two-factor/sign-in/", two_factor.authenticate, name="mfa_authenticate"),
    path("account/two-factor/confirm/", two_factor.reauthenticate, name="mfa_reauthenticate"),
    path("account/two-factor/app/", audited(totp.activate_totp), name="mfa_activate_totp"),
    path(
        "account/two-factor/app/remove/", audited(totp.deactivate_totp), name="mfa_deactivate_totp"
    ),
    path(
        "account/two-factor/codes/",
        recovery_codes.view_recovery_codes,
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/two-factor/codes/new/",
        audited(recovery_codes.generate_recovery_codes),
        name="mfa_generate_recovery_codes",
    ),
    path("account/two-factor/", your_account.two_factor, name="mfa_list_webauthn"),
    path("account/passkeys/add/", audited(passkeys.add_webauthn), name="mfa_add_webauthn"),
    path("account/passkeys/sign-in/", passkeys.login_webauthn, name="mfa_login_webauthn"),
    path(
        "account/passkeys/confirm/",
        passkeys.reauthenticate_webauthn,
        name="mfa_reauthenticate_webauthn",
    ),
    path(
        "account/passkeys/<int:pk>/remove/",
        audited(passkeys.remove_webauthn),
        name="mfa_remove_webauthn",
    ),
    path("account/passkeys/<int:pk>/rename/", passkeys.edit_webauthn, name="mfa_edit_webauthn"),
    path(
        "account/single-sign-on/<str:provider_id>/",
        accounts.single_sign_on,
        name="openid_connect_login",
    ),
    path(
        "account/single-sign-on/<str:provider_id>/callback/",
        openid_connect.callback,
        name="openid_connect_callback",
    ),
    path(
        "account/single-sign-on/",
        audited(single_sign_on.connections),
        name="socialaccount_connections",
    ),
    path(
        "account/single-sign-on-canceled/",
        accounts.single_sign_on_canceled,
        name="socialaccount_login_cancelled",
    ),
]
