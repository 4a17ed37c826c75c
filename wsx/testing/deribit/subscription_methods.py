"""Methods of hearing channels, and of hearing them no more. Not here: the channels (channels.py), the feeds."""

from dataclasses import replace

from wsx.testing.deribit.auth import Grant
from wsx.testing.deribit.channels import Channel, find_channel
from wsx.testing.deribit.method import Method
from wsx.testing.deribit.params import Params
from wsx.testing.deribit.session import Session
from wsx.testing.deribit.wire import Refusal

_MAX_CHANNELS = 500  # a call
_MAX_LABEL = 16  # characters


def _public_subscribe(session: Session, params: Params) -> list[str]:
    """Private channels are not among those of a public call."""
    return _subscribe(
        session, [channel for channel in _known(session, params, session.logged_in()) if not channel.private]
    )


def _private_subscribe(session: Session, params: Params) -> list[str]:
    grant = session.authorise(params, "")
    label = params.text("label", "")
    if len(label) > _MAX_LABEL:
        raise Refusal("Invalid params", data={"reason": "too long", "param": "label"})
    allowed = [channel for channel in _known(session, params, grant) if _may_hear(grant, channel)]
    return _subscribe(session, [_owned(grant, channel) for channel in allowed], label)


def _known(session: Session, params: Params, grant: Grant | None) -> list[Channel]:
    """The channels that exist; the others are passed over in silence."""
    found = [find_channel(name, session.exchange.floor) for name in params.texts("channels", at_most=_MAX_CHANNELS)]
    known = [channel for channel in found if channel is not None]
    if grant is None and any(channel.needs_login for channel in known):
        raise Refusal("raw_subscriptions_not_available_for_unauthorized")
    return known


def _may_hear(grant: Grant, channel: Channel) -> bool:
    return not channel.private or channel.right in grant.rights


def _owned(grant: Grant, channel: Channel) -> Channel:
    """A private channel is about the account that asks for it."""
    return replace(channel, owner=grant.account.client_id) if channel.private else channel


def _subscribe(session: Session, channels: list[Channel], label: str = "") -> list[str]:
    session.hearing.subscribe(channels, label)
    return _listed([channel.name for channel in channels])


def _unsubscribe(session: Session, params: Params) -> list[str]:
    return _listed(session.hearing.unsubscribe(params.texts("channels", at_most=_MAX_CHANNELS)))


def _unsubscribe_all(session: Session, params: Params) -> str:
    session.hearing.unsubscribe(list(session.hearing.channels))
    return "ok"


def _listed(names: list[str]) -> list[str]:
    """The exchange's order."""
    return sorted(set(names), reverse=True)


SUBSCRIPTION_METHODS = {
    "public/subscribe": Method(_public_subscribe),
    "public/unsubscribe": Method(_unsubscribe),
    "public/unsubscribe_all": Method(_unsubscribe_all),
    "private/subscribe": Method(_private_subscribe, right="", worker="private"),
    "private/unsubscribe": Method(_unsubscribe, right="", worker="private"),
    "private/unsubscribe_all": Method(_unsubscribe_all, right="", worker="private"),
}
