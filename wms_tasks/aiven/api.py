"""
Asks Aiven's API, through aiven-client, and says in one line what is wrong and what to do. No answer is repeated whole,
and the token never.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import msgspec
import requests

from wms_tasks.aiven.answers import POWERED_OFF, REDACTED, Address, Authority, Service, User
from wms_tasks.errors import ServiceUnavailable, SettingsError, WmsError
from wms_tasks.settings import Settings, variable_of

TIMEOUT_SECONDS = 10
_MOST_CHARACTERS = 200
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY = 401, 403, 404, 429
_EXTRA = "pip install 'wms-tasks[aiven]'"
_RIGHTS = "it needs project:services:read and service:secrets:read there"

T = TypeVar("T")


class Aiven:
    """One project, asked with the settings' token. `authority` is asked first: it tells token and project apart."""

    def __init__(self, settings: Settings) -> None:
        try:
            from aiven.client import AivenClient
            from aiven.client.client import Error
        except ImportError as error:
            raise SettingsError("WMS_AIVEN_PROJECT: aiven-client is not installed", hint=_EXTRA) from error
        self._token = settings.aiven_token or ""
        self._project = settings.aiven_project or ""
        self._url = settings.aiven_url
        # It says each of its retries to whoever listens; ours is the one line at the end.
        logging.getLogger("AivenClient").setLevel(logging.CRITICAL)
        self._client = AivenClient(self._url, request_timeout=TIMEOUT_SECONDS)
        self._client.set_auth_token(self._token)
        self._refused: type[Exception] = Error

    def authority(self) -> str:
        """The project's CA, PEM."""
        unknown = SettingsError(
            f"WMS_AIVEN_PROJECT: Aiven has no project {self._project} that this token may see",
            hint="avn project list shows those that it has",
        )
        answer = self._ask("the project's CA", unknown, lambda: self._client.get_project_ca(self._project))
        return self._read(answer, Authority, "the project's CA").certificate

    def service(self, name: str, variable: str) -> Service:
        """
        A service that is not powered off.

        Args:
            variable: names the service otherwise.
        """
        unknown = SettingsError(
            f"the project {self._project} has no service {name}",
            hint=f"terraform apply makes it, {variable} names another",
        )
        answer = self._ask(name, unknown, lambda: self._client.get_service(self._project, name))
        found = self._read(answer, Service, name)
        if found.state == POWERED_OFF:
            raise ServiceUnavailable(
                f"{name} is powered off", hint=f"avn service update --power-on --project {self._project} {name}"
            )
        return found

    def address(self, service: Service) -> Address:
        """Where it is; one that is being built has none yet."""
        if service.service_uri_params:
            return self._read(service.service_uri_params, Address, f"where {service.service_name} is")
        raise ServiceUnavailable(
            f"{service.service_name} has no address yet: it is {service.state}",
            hint=f"avn service wait --project {self._project} {service.service_name}",
        )

    def user(self, service: str, name: str, *fields: str) -> User:
        """
        A user with its secrets.

        Args:
            fields: those that must be there.
        """
        unknown = SettingsError(f"{service} has no user {name}", hint="terraform apply makes it")
        path = self._client.build_path("project", self._project, "service", service, "user", name)
        # Unasked, secrets are redacted from March 2027 on; aiven-client's own method does not ask.
        asked = {"include_secrets": "true"}
        answer = self._ask(
            f"the user {name} of {service}",
            unknown,
            lambda: self._client.verify(self._client.get, path, params=asked, result_key="user"),
        )
        found = self._read(answer, User, f"the user {name} of {service}")
        for field in fields:
            self._require(found, field, service)
        return found

    def _require(self, user: User, field: str, service: str) -> None:
        value = getattr(user, field)
        if value == REDACTED:
            raise SettingsError(f"{variable_of('aiven_token')}: may not read secrets of {service}", hint=_RIGHTS)
        if value is None and field == "password":
            raise SettingsError(
                f"Aiven does not know the password of {user.username} at {service}: it was set elsewhere",
                hint="reset it: avn service user-password-reset, or set the WMS_ variable yourself",
            )
        if not value:
            raise WmsError(f"Aiven's answer about the user {user.username} of {service} has no {field}")

    def _ask(self, what: str, unknown: WmsError, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except requests.exceptions.SSLError as error:
            raise ServiceUnavailable(
                f"{self._url} shows a certificate that is not trusted", hint="behind a proxy: REQUESTS_CA_BUNDLE=file"
            ) from error
        except requests.exceptions.InvalidJSONError as error:
            self._malformed(what, "no JSON", error)
        except requests.exceptions.RequestException as error:
            raise ServiceUnavailable(
                f"{self._url} cannot be reached: {type(error).__name__}", hint="the network, or HTTPS_PROXY"
            ) from error
        except self._refused as error:
            raise self._why(error, unknown) from error
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            self._malformed(what, type(error).__name__, error)

    def _why(self, error: Any, unknown: WmsError) -> WmsError:
        """What an HTTP status that is no success means."""
        if error.status == _NOT_FOUND:
            return unknown
        said = " ".join(str(error).replace(self._token, "[secret]").split())[:_MOST_CHARACTERS]
        if error.status == _UNAUTHORIZED:
            return SettingsError(
                f"{variable_of('aiven_token')}: Aiven refuses the token: {said}",
                hint="it may have expired: make another",
            )
        if error.status == _FORBIDDEN:
            return SettingsError(
                f"{variable_of('aiven_token')}: the token may not do this in {self._project}: {said}", hint=_RIGHTS
            )
        if error.status == _TOO_MANY:
            return ServiceUnavailable(f"{self._url} has been asked too often: {said}")
        return ServiceUnavailable(f"{self._url} answers: {said}")

    def _read(self, answer: Any, kind: type[T], what: str) -> T:
        try:
            return msgspec.convert(answer, kind, strict=False)
        except msgspec.ValidationError as error:
            self._malformed(what, str(error), error)

    def _malformed(self, what: str, why: str, error: Exception) -> NoReturn:
        raise WmsError(
            f"Aiven's answer about {what} is none that we know: {why}", hint=f"is {self._url} Aiven's API?"
        ) from error
