"""Network volumes: listed with their price, made, grown and deleted, each confirmed by a read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from gpuctl.errors import ApiError, GpuctlError, NotFound, StillBilling, UsageError
from gpuctl.holdings import Volume, VolumeOrder
from gpuctl.models import Report
from gpuctl.providers.runpod_account import RunpodAccount
from gpuctl.services import journal
from gpuctl.services.ulids import new_ulid
from gpuctl.services.waiting import Clock, wait_for
from gpuctl.state import State
from gpuctl.state_records import Intent

# Volumes have a name of their own in the journal, so that nobody looks for a machine instead.
JOURNAL = "runpod-volumes"
SMALLEST_GB, LARGEST_GB = 10, 4096
CONFIRM_LIMIT_S = 60.0
POLL_S = 2.0
LIST_LAG_S = 60.0


@dataclass(frozen=True, slots=True)
class Storage:
    """The account's volumes, this computer's memory, the clock, and where to say things.

    `connect` gives the account, and is called only when there is something to ask.
    """

    connect: Callable[[], RunpodAccount]
    state: State
    clock: Clock
    report: Report

    @property
    def account(self) -> RunpodAccount:
        return self.connect()


def find(storage: Storage, text: str) -> Volume:
    """The volume of that id, else the only one of that name. Raises NotFound, UsageError."""
    listed = storage.account.volumes()
    found = [v for v in listed if v.id == text] or [v for v in listed if v.name == text]
    if len(found) > 1:
        ids = ", ".join(volume.id for volume in found)
        raise UsageError(f"several volumes are called '{text}': {ids}", hint="give the id")
    if not found:
        raise NotFound(f"there is no volume '{text}'", hint="gpuctl volumes list")
    return found[0]


def order(storage: Storage, name: str, size_gb: int, data_center: str) -> VolumeOrder:
    """What will be asked for, standard where there is a choice. Raises UsageError for what cannot
    be made, before anything is billed."""
    _check_size(size_gb)
    if any(volume.name == name for volume in storage.account.volumes()):
        raise UsageError(f"a volume called '{name}' exists", hint="gpuctl volumes list")
    centers = {center.id: center for center in storage.account.data_centers()}
    if data_center not in centers or not centers[data_center].has_volumes:
        known = ", ".join(center.id for center in centers.values() if center.has_volumes)
        raise UsageError(f"there are no volumes in '{data_center}'", hint=f"one of {known}")
    return VolumeOrder(name, size_gb, data_center, centers[data_center].volume_tiers[0])


def create(storage: Storage, wanted: VolumeOrder) -> Volume:
    """Starts billing; journalled before the call and settled after it, whatever the answer."""
    key = _journal_name()
    detail = {**journal.author(), **asdict(wanted)}
    storage.state.intend(key, JOURNAL, "storage", detail)
    try:
        volume = storage.account.create_volume(wanted)
    except ApiError as error:
        volume = _settled(storage, key, wanted.name, error)
    except GpuctlError as error:
        storage.state.resolve(key, f"refused: {error.code}")
        raise
    storage.state.resolve(key, "created", volume.id)
    return volume


def resize(storage: Storage, volume: Volume, size_gb: int) -> Volume:
    """Volumes only grow. Raises UsageError."""
    check_growth(volume, size_gb)
    return storage.account.resize_volume(volume.id, size_gb)


def check_growth(volume: Volume, size_gb: int) -> None:
    """Raises UsageError."""
    _check_size(size_gb)
    if size_gb <= volume.size_gb:
        raise UsageError(
            f"{volume.name} has {volume.size_gb} GB, and a volume cannot shrink",
            hint="copy what you need to a smaller one, then: gpuctl volumes delete",
        )


def check_detached(volume: Volume) -> None:
    """Raises UsageError while a machine mounts it."""
    if volume.attached_to:
        users = ", ".join(volume.attached_to)
        raise UsageError(
            f"{volume.name} is mounted by {users}", hint=f"gpuctl terminate {volume.attached_to[0]}"
        )


def delete(storage: Storage, volume: Volume) -> None:
    """Done when a later list has it no more. Raises UsageError, StillBilling."""
    check_detached(volume)
    storage.account.delete_volume(volume.id)

    def gone() -> bool | None:
        listed = [each.id for each in storage.account.volumes()]
        return True if volume.id not in listed else None

    try:
        wait_for(gone, timeout_s=CONFIRM_LIMIT_S, every_s=POLL_S, clock=storage.clock)
    except GpuctlError as error:
        raise StillBilling(
            f"the end of {volume.name} ({volume.id}) could not be confirmed: {error.message}",
            hint="gpuctl volumes list",
            details={"volume": volume.id},
        ) from error
    for intent in storage.state.journal():
        if intent.provider == JOURNAL and intent.machine_id == volume.id:
            storage.state.resolve(intent.name, "deleted")


def reconcile(storage: Storage) -> list[Intent]:
    """Settles what interrupted creates left, by name; gives back what stays unknown.

    Asks nobody when there is nothing to ask; who could not be asked is warned of.
    """
    left = [intent for intent in storage.state.unresolved() if intent.provider == JOURNAL]
    left = [intent for intent in left if not journal.is_being_made(intent, storage.clock.now())]
    if not left:
        return []
    try:
        by_name = {volume.name: volume for volume in storage.account.volumes()}
    except GpuctlError as error:
        names = ", ".join(str(intent.detail["name"]) for intent in left)
        storage.report.warn(f"whether the volume {names} bills is unknown: {error.message}")
        return left
    return [intent for intent in left if not _reconciled(storage, intent, by_name)]


def _reconciled(storage: Storage, intent: Intent, by_name: dict[str, Volume]) -> bool:
    name = str(intent.detail["name"])
    volume = by_name.get(name)
    if volume is not None:
        storage.state.resolve(intent.name, "found", volume.id)
        storage.report.warn(
            f"volume {name} ({volume.size_gb} GB) exists from an interrupted create, and is "
            f"billed. Keep it, or: gpuctl volumes delete {volume.id}"
        )
        return True
    if storage.clock.now() - intent.created_at < LIST_LAG_S:
        storage.report.warn(f"volume {name} is not listed yet; it may still appear")
        return False
    storage.state.resolve(intent.name, "never_created")
    return True


def _settled(storage: Storage, key: str, name: str, error: ApiError) -> Volume:
    """What a create call that broke really did. Raises the error, or StillBilling."""
    is_refusal = error.status is not None and error.status < 500
    if is_refusal or error.details.get("sent") is False:
        storage.state.resolve(key, f"refused: {error.status or 'not sent'}")
        raise error
    try:
        return find(storage, name)
    except GpuctlError as failure:
        raise StillBilling(
            f"whether the volume {name} was made is unknown: {error.message}",
            hint="gpuctl volumes list looks again",
            details={"name": name},
        ) from failure


def _check_size(size_gb: int) -> None:
    if not SMALLEST_GB <= size_gb <= LARGEST_GB:
        raise UsageError(f"a volume has {SMALLEST_GB} to {LARGEST_GB} GB, not {size_gb}")


def _journal_name() -> str:
    return f"gpuctl-volume-{new_ulid().lower()}"
