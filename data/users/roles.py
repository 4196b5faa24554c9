"""Roles: each may do all that the one before it may.

viewer    sees everything that concerns models, devices and figures
labeller  also says what is on a picture, and takes back what they said
approver  also decides: promote, hold, roll back, settings, campaigns, what others labelled
admin     also says who may do what, and reads the audit log
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person may do."""

    VIEWER = "viewer"
    LABELLER = "labeller"
    APPROVER = "approver"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether somebody of this role may do what needs another.

        >>> Role.APPROVER.may(Role.LABELLER), Role.VIEWER.may(Role.LABELLER)
        (True, False)
        """
        order = list(Role)
        return order.index(self) >= order.index(needed)
