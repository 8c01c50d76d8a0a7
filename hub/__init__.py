"""What happens to a message on its way in and out: receive, identify, thread, reply, deliver, merge, snooze."""

from hub.hub import AlreadyRunning, Hub, Opened

__all__ = ["AlreadyRunning", "Hub", "Opened"]
