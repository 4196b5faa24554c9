"""People who sign in: roles, accounts, sessions, one-time links, failed attempts and the audit log.

Rules without a web page; `console.people` puts them in front of every route, `andon user` in a terminal's hands.
"""

from data.users.accounts import User, UserError
from data.users.audit_log import AuditEntry, record
from data.users.roles import Role

__all__ = ["AuditEntry", "Role", "User", "UserError", "record"]
