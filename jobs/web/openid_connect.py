"""Single sign-on by OpenID Connect: django-allauth's way, with a check of the token's signature.

The token comes directly from the provider, so allauth leaves its signature unread, as the standard
allows. Here it has to fit a key that the provider publishes, whatever stands between the two, and
to have been made for this sign-in: see nonce_of.
"""

from __future__ import annotations

import hashlib
from typing import Any

import jwt
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import Http404, HttpRequest, HttpResponse

# With a private key of the provider's: a shared secret proves nothing, and "none" even less.
KINDS = ("RS", "PS", "ES")
ALGORITHMS = ["EdDSA", *(f"{kind}{bits}" for kind in KINDS for bits in (256, 384, 512))]
SKEW_SECONDS = 60  # between the clocks of the two


class NonceClient(OAuth2Client):  # type: ignore[misc]  # allauth has no types
    def get_redirect_url(
        self, authorization_url: str, scope: list[str], extra_params: dict[str, str]
    ) -> str:
        params = {**extra_params, "nonce": nonce_of(self.state)}
        address: str = super().get_redirect_url(authorization_url, scope, params)
        return address


def nonce_of(state: str) -> str:
    """What the ID token has to repeat. The state is random, known to this browser's session only,
    and used once; allauth has checked it by the time that a token is there."""
    return hashlib.sha256(f"nonce {state}".encode()).hexdigest()


class SignedAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # allauth has no types
    client_class = NonceClient

    def get_provider(self) -> Any:
        """One that leads to the issuer by this adapter, too."""
        provider = super().get_provider()
        provider.oauth2_adapter_class = type(self)
        return provider

    def _decode_id_token(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        """Raises OAuth2Error, or RequestException while the keys cannot be fetched."""
        try:
            claims: dict[str, Any] = jwt.decode(
                id_token,
                self._key(jwt.get_unverified_header(id_token).get("kid")),
                algorithms=ALGORITHMS,
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                leeway=SKEW_SECONDS,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise OAuth2Error("The ID token is not valid.") from error
        if claims.get("nonce") != nonce_of(self.request.GET.get("state", "")):
            raise OAuth2Error("The ID token was made for another sign-in.")
        return claims

    def _key(self, name: str | None) -> jwt.PyJWK:
        """The provider's key with this name; the only one, if the token names none."""
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
        keys = [
            key
            for key in jwt.PyJWKSet.from_dict(answer.json()).keys
            if key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig")
        ]
        found = [key for key in keys if key.key_id == name] if name else keys
        if len(found) != 1:
            raise OAuth2Error("The provider has no such key.")
        return found[0]


def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    return _answer(OAuth2LoginView, request, provider_id)


def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    return _answer(OAuth2CallbackView, request, provider_id)


def _answer(view: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        answer: HttpResponse = view.adapter_view(SignedAdapter(request, provider_id))(request)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    return answer
