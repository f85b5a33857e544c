"""Notifications: tell people, by mail, chat or any address that apprise knows, when something happened to a project."""

from bookkeeper.plugins.notify.notifier import Notifier, notifiers
from bookkeeper.plugins.notify.targets import OCCASIONS, Notify, Target, targets, trial

__all__ = ["OCCASIONS", "Notifier", "Notify", "Target", "notifiers", "targets", "trial"]
