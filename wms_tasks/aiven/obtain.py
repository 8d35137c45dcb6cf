"""
Fills what a role needs and nobody set, from Aiven, into the process's settings. What is set, in whichever way, wins.

Not into the environment: Celery's HUP runs the program anew with it, and would find what was true before as set.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from wms_tasks import tls
from wms_tasks.aiven import facts
from wms_tasks.aiven.answers import Service
from wms_tasks.aiven.facts import Need, Role
from wms_tasks.errors import SettingsError
from wms_tasks.settings import PREFIX, Settings, get_settings, variable_of

_TOKENS = "WMS_AIVEN_TOKEN, AIVEN_AUTH_TOKEN or AIVEN_TOKEN"


def obtain(settings: Settings, role: Role, *needs: Need) -> Settings:
    """
    The settings as they are now: filled with what `role` needs of these, its certificates written.

    Args:
        needs: what is used of `ROLES`' needs.
    Raises:
        SettingsError: Aiven refuses the token, or does not have what is named.
        ServiceUnavailable: Aiven cannot be reached, or a service is powered off.
        WmsError: an answer is none that we know.
    """
    if settings.aiven_project is None:
        if settings.aiven_token is not None and (ours := variable_of("aiven_token")).startswith(PREFIX):
            raise SettingsError(f"{ours}: is of no use alone", hint="WMS_AIVEN_PROJECT names the project")
        return settings
    wanted = [need for need in needs if settings.model_fields_set.isdisjoint(facts.SET_BY[need])]
    if not wanted:
        return settings
    if not settings.wants_tls:
        raise SettingsError(
            f"WMS_AIVEN_PROJECT: WMS_ENV={settings.env} has nothing at Aiven", hint="it is for staging and prod"
        )
    if settings.aiven_token is None:
        raise SettingsError("WMS_AIVEN_PROJECT: there is no token to ask Aiven with", hint=f"set {_TOKENS}")
    found = _Filling(settings, role).of(wanted)
    # One by one: of a service that is asked for, single settings may be set.
    return get_settings.fill({name: value for name, value in found.items() if name not in settings.model_fields_set})


class _Filling:
    """What is asked for one role; each answer is used at once."""

    def __init__(self, settings: Settings, role: Role) -> None:
        from wms_tasks.aiven.api import Aiven

        self._settings, self._role = settings, role
        self._names = facts.Names.of(settings)
        self._aiven = Aiven(settings)
        self._files: dict[str, str] = {}

    def of(self, needs: list[Need]) -> dict[str, str]:
        """Variables and their values, and the files written."""
        from wms_tasks.aiven.certificates import write_certificates

        self._files[tls.CA] = self._aiven.authority()
        folder = self._folder(needs)
        found = {name: value for need in needs for name, value in self._of(need, folder)}
        write_certificates(folder, self._files)
        return found if folder == self._settings.certs_dir.absolute() else {**found, "certs_dir": str(folder)}

    def _folder(self, needs: list[Need]) -> Path:
        """A folder for each role that has a certificate of its own, so that two in one place keep theirs apart."""
        here = self._settings.certs_dir.absolute()
        return here / self._role if "kafka" in needs and "certs_dir" not in self._settings.model_fields_set else here

    def _of(self, need: Need, folder: Path) -> Iterator[tuple[str, str]]:
        match need:
            case "redis":
                service = self._aiven.service(self._names.redis, "WMS_AIVEN_VALKEY_SERVICE")
                user = self._aiven.user(service.service_name, facts.VALKEY_USER, "password")
                yield from facts.broker(self._aiven.address(service), user).items()
            case "postgres" | "housekeeping":
                yield from self._postgres(need)
            case "kafka" | "registry":
                yield from self._kafka(need, folder)

    @cached_property
    def _postgres_service(self) -> Service:
        """Asked for once, also where two logins to it are wanted."""
        return self._aiven.service(self._names.postgres, "WMS_AIVEN_POSTGRES_SERVICE")

    def _postgres(self, need: Need) -> Iterator[tuple[str, str]]:
        service = self._postgres_service
        if need == "postgres" and facts.reads_by_pool(self._role):
            yield from self._pool(service)
            return
        role: Role = "housekeeping" if need == "housekeeping" else self._role
        user = self._aiven.user(service.service_name, facts.postgres_user(role), "password")
        yield from facts.database(facts.SET_BY[need][0], self._aiven.address(service), user).items()
        yield from facts.beside_database(self._role).items()

    def _pool(self, service: Service) -> Iterator[tuple[str, str]]:
        user = self._aiven.user(service.service_name, facts.postgres_user("reader"), "password")
        for pool in service.connection_pools or ():
            if pool.pool_name == facts.READERS_POOL:
                yield from facts.pooled_database(pool, user).items()
                return
        raise SettingsError(
            f"{service.service_name} has no connection pool {facts.READERS_POOL}", hint="terraform apply makes it"
        )

    def _kafka(self, need: Need, folder: Path) -> Iterator[tuple[str, str]]:
        service = self._aiven.service(self._names.kafka, "WMS_AIVEN_KAFKA_SERVICE")
        fields = ("password", "access_cert", "access_key") if need == "kafka" else ("password",)
        user = self._aiven.user(service.service_name, facts.kafka_user(self._settings, self._role), *fields)
        if need == "kafka":
            self._files |= {tls.KAFKA_CERTIFICATE: user.access_cert or "", tls.KAFKA_KEY: user.access_key or ""}
            yield from facts.kafka(self._aiven.address(service)).items()
        found = facts.registry(service, user, folder)
        if need == "registry" and not found:
            raise SettingsError(f"{service.service_name} has no schema registry", hint="terraform apply switches it on")
        yield from found.items()
